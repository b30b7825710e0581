import importlib
import re
from inspect import isroutine

import numpy as np
import pytest
import torch
from typer.main import get_command
from typer.testing import CliRunner

import tmeasures as tm
from tmeasures import cli
from tmeasures.cli.sets import transformations
from tmeasures.errors import ArgumentError, TransformationError

SETS = """
from torch import nn

import tmeasures as tm

def double(x):
    return 2 * x

ready = tm.rotations(3)
functions = [double, abs]
elements = list(tm.flips())
single = tm.flips()[1]
mixed = [double, 3]
named = {"as it is": abs, "twice": double}
layer = nn.Flatten()
empty = []
number = 5

def made():
    return tm.scalings([1, 2])

def listed():
    return (double,)

def nothing():
    pass

def broken():
    raise KeyError("scale")
"""


@pytest.fixture(autouse=True)
def sets(folder):
    (folder / "mysets.py").write_text(SETS)


NEW = {
    "brightness": (tm.brightness, [-0.2, 0, 0.2]),
    "contrast": (tm.contrast, [0.5, 1, 2]),
    "grayscale": (tm.grayscale, [0, 0.5, 1]),
    "gaussian_blur": (tm.gaussian_blur, [0, 1.5]),
    "gaussian_noise": (tm.gaussian_noise, [0, 0.1]),
    "zoom": (tm.zooms, [0.5, 1, 2]),
    "horizontal_scaling": (tm.horizontal_scalings, [0.5, 1, 2]),
    "vertical_scaling": (tm.vertical_scalings, [0.5, 1, 2]),
    "shear": (tm.shears, [-0.2, 0, 0.2]),
    "time_shift": (tm.time_shifts, [-1.5, 0, 2]),
    "time_stretch": (tm.time_stretches, [0.5, 1, 2]),
    "gain": (tm.gains, [0.5, 1, 2]),
    "signal_noise": (tm.signal_noise, [0, 3]),
    "circular_shift": (tm.circular_shifts, [-1, 0, 1]),
}
"""Sets that are made with numbers."""


def parameters(found):
    return [dict(t.parameters) for t in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rotation", tm.rotations()),
        ("rotations", tm.rotations()),
        ("Rotation:4", tm.rotations(4)),
        ("rotation:1", tm.rotations(1)),
        (" rotation : 4 ", tm.rotations(4)),
        ("rotation:-10,0,10", tm.rotations([-10, 0, 10])),
        ("rotation:45,", tm.rotations([45])),
        ("rotation:22.5,90,", tm.rotations([22.5, 90])),
        ("scale", tm.scalings()),
        ("scales", tm.scalings()),
        ("scaling:.5,1,2", tm.scalings([0.5, 1, 2])),
        ("scalings:2", tm.scalings([2])),
        ("scale: .5 , 1e0", tm.scalings([0.5, 1])),
        ("translation", tm.translations()),
        ("translations:1,2,4", tm.translations([1, 2, 4])),
        ("flip", tm.flips()),
        ("flips", tm.flips()),
        ("combined", tm.combined()),
        ("identity", tm.identity()),
        ("rotation:2*scale:1,2", tm.rotations(2) * tm.scalings([1, 2])),
        (
            "flip * rotation:2 * translation:1",
            tm.flips() * tm.rotations(2) * tm.translations([1]),
        ),
        ("Brightness:-.2", tm.brightness([-0.2])),
        ("gaussian_blurs:1,", tm.gaussian_blur([1])),
        (
            "brightness: -.2, 0 * rotation:2*gaussian_noise:.1",
            tm.brightness([-0.2, 0]) * tm.rotations(2) * tm.gaussian_noise([0.1]),
        ),
        ("time_shift:0,2 * gain:.5", tm.time_shifts([0, 2]) * tm.gains([0.5])),
    ],
)
def test_named_sets(text, expected):
    found = transformations(text)
    assert repr(found) == repr(expected)
    assert parameters(found) == parameters(expected)


@pytest.mark.parametrize("name", NEW)
def test_sets_of_numbers(name):
    make, values = NEW[name]
    written = f":{','.join(map(str, values))}"
    batch = torch.rand(2, 3, 8, 8)
    for text in (name, make.__name__):
        found = transformations(text + written)
        assert repr(found) == repr(make(values))
        assert found.names == make(values).names
        assert torch.equal(found.apply(batch), make(values).apply(batch))
    with pytest.raises(ArgumentError, match=f"'{name}' has no numbers, .* as in '(.*)'") as caught:
        transformations(name)
    example = re.search("as in '(.*)'", str(caught.value))[1]
    assert len(transformations(example)) > 1
    assert example.startswith(f"{name}:")


def test_every_set_of_the_library_is_known_by_its_name():
    package = importlib.import_module("tmeasures.transformations")
    names = {n for n in package.__all__ if isroutine(getattr(package, n))}
    ready = {"combined", "flips", "identity", "rotations", "scalings", "translations"}
    for name in ready:
        assert repr(transformations(name)) == repr(getattr(tm, name)())
    for name in names - ready - {"transformations", "warp"}:
        told = rf"has no numbers|needs vectors .* returns tm\.{name}\("
        with pytest.raises(ArgumentError, match=told):
            transformations(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mysets.py:ready", tm.rotations(3)),
        ("mysets:ready", tm.rotations(3)),
        ("mysets.py:made", tm.scalings([1, 2])),
        ("mysets:elements", tm.flips()),
        ("tmeasures:flips", tm.flips()),
        ("tmeasures.transformations:rotations", tm.rotations()),
        ("mysets:made * rotation:2", tm.scalings([1, 2]) * tm.rotations(2)),
        ("rotation:2*mysets.py:ready", tm.rotations(2) * tm.rotations(3)),
    ],
)
def test_referenced_sets(text, expected):
    found = transformations(text)
    assert found.names == expected.names
    assert parameters(found) == parameters(expected)


def test_lists_of_functions():
    found = transformations("mysets.py:functions")
    assert found.names == ["double", "abs"]
    assert found.apply(torch.tensor([[-1.0]])).tolist() == [[[-2.0], [1.0]]]
    assert transformations("mysets:listed").names == ["double"]
    assert transformations("mysets:named").names == ["as it is", "twice"]
    both = transformations("mysets:functions * mysets:listed")
    assert both.apply(torch.tensor([[-1.0]])).flatten().tolist() == [-4.0, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--transformations is empty; expected rotation, scale, "),
        ("  ", "is empty"),
        ("*", "is empty"),
        ("rotation:8*", r"is 'rotation:8\*', with nothing beside a '\*'"),
        ("*scale", "with nothing beside"),
        ("rotation:2**scale", "with nothing beside"),
        ("rotaton:16", r"'rotaton:16' is unknown \(did you mean 'rotation'\?\)"),
        ("rotate:16", "did you mean 'rotation'"),
        ("rotation(16)", "did you mean 'rotation'.*as in rotation:16"),
        ("rotation 16", "did you mean 'rotation'"),
        ("translate", "did you mean 'translation'"),
        ("tilt", r"'tilt' is unknown; expected rotation, scale, .* brightness, .*file\.py:name"),
        ("blur:1", r"'blur:1' is unknown \(did you mean 'gaussian_blur'\?\); expected a set as"),
        ("noise", r"did you mean 'gaussian_noise' or 'signal_noise'\?"),
        ("shifts:1", r"did you mean 'time_shift' or 'circular_shift'\?"),
        ("brightnes:.1", "did you mean 'brightness'"),
        ("greyscale:1", "did you mean 'grayscale'"),
        ("gaussian-blur:1", "did you mean 'gaussian_blur'"),
        ("horizontal_scale:2", "did you mean 'horizontal_scaling'"),
        ("time_strech:2", "did you mean 'time_stretch'"),
        (
            "permutations:1,0",
            r"needs vectors .* Python: write .* tm\.permutations\(\[\.+\]\)",
        ),
        ("rotation:2*Sign_flip", r"'Sign_flip' needs .* tm\.sign_flips\(.*as file\.py:name"),
        ("contrast", r"'contrast' has no numbers, .*; give some, as in 'contrast:\.5,1,2'"),
        ("brightness:", "has nothing after the colon"),
        ("brightness:dark", "has 'dark' where a number should be"),
        ("shear:0,.2,axis=y", "has 'axis=y' where a number should be"),
        ("16", "'16' is unknown"),
        ("rotation:2 x scale", r"'rotation:2 x scale' has '2 x scale' where a number"),
        ("rotation:", "has nothing after the colon"),
        ("rotation:22.5", r"how many angles .* write 'rotation:22\.5,' with a comma"),
        ("rotation:0", "from 1 on"),
        ("rotation:-90", "write 'rotation:-90,' with a comma"),
        ("rotation:nan", "write 'rotation:nan,' with a comma"),
        ("rotation:a,b", "has 'a' where a number should be"),
        ("rotation:90°,", "has '90°' where a number should be"),
        ("scale:0,5;1", "has '5;1' where a number should be"),
        ("scale:1,,2", "has nothing between two commas where a number"),
        ("scale:,", "has nothing between two commas where a number"),
        ("flip:2", "'flip:2' has arguments, and this set takes none; write 'flip'"),
        ("combined:16", "takes none; write 'combined'"),
        ("rotation:2*flip:up", "'flip:up' has arguments"),
        ("gone.py:make", r"'gone\.py' does not exist"),
        ("gone_such:make", "--transformations: there is no module 'gone_such'"),
        ("mysets.py:maed", r"no 'maed' in it \(did you mean 'made'\?\)"),
        ("mysets:double", "'mysets:double' takes arguments, .*; expected a list"),
        ("mysets:number", "--transformations 'mysets:number': .* is 5; give a set such as"),
        ("mysets:nothing", "'mysets:nothing': .* is None; give a set"),
        ("mysets:single", "'mysets:single': .* is the single .*flip.*; give a set"),
        ("mysets:layer", r"is a torch\.nn\..*Flatten; give a list of several"),
        ("mysets:empty", r"'mysets:empty': found \[\]"),
        ("mysets:mixed", "'mysets:mixed': found 3, expected a callable"),
        ("mysets:broken", r"raised KeyError: 'scale' \(mysets\.py, line"),
    ],
)
def test_texts_that_are_no_set(text, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        transformations(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scale:0,1", "0"),
        ("scale:-1", "-1"),
        ("scale:nan", "nan"),
        ("translation:0", "0"),
        ("brightness:nan", "nan"),
        ("contrast:-1", "-1 among the factors of contrast"),
        ("grayscale:0,2", "2 among the amounts .* from 0 to 1"),
        ("gaussian_blur:-1", "-1 among the sigmas"),
        ("gaussian_noise:inf", "inf"),
        ("zoom:0", "factor 0"),
        ("time_stretch:-1", "factor -1"),
        ("gain:-2", "-2 among the factors of gains"),
        ("circular_shift:0,1.5", "offset 1.5"),
    ],
)
def test_numbers_that_a_set_refuses(text, message):
    with pytest.raises(TransformationError, match=message):
        transformations(text)


def typed(text, shape=(3, 8, 8), scale=1.0):
    """What a command says of inputs from 0 to a scale under a set, and the inputs."""
    images = np.random.default_rng(0).random((5, *shape), np.float32)
    np.save("images.npy", scale * images)
    line = ["measure", "--model", "torch.nn:Flatten", "--layers", "output", "--measures", "TV"]
    line += ["--samples", "images.npy", "--transformations", text, "--out", "a.nc"]
    return CliRunner().invoke(cli.app, line, prog_name="tmeasures"), torch.tensor(scale * images)


@pytest.mark.parametrize(
    "text", ["brightness:-.2,0,.2", "grayscale:0,1*gaussian_blur:.5,1", "shear:-.5,.5*zoom:1,2"]
)
def test_sets_are_measured(text):
    result, images = typed(text)
    assert result.exit_code == 0, result.output
    tree = tm.open("a.nc")
    expected = transformations(text).apply(images).flatten(2).double().var(1).mean(0)
    np.testing.assert_allclose(tree["layers/output/TV"], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("text", "shape", "scale", "message"),
    [
        (
            "brightness:-.2,.2", (3, 8, 8), 9,
            r"limits=\(0, 1\) of 'brightness -0\.2': give the limits of your inputs, or "
            r"clip=False, to a set in a file, as --transformations file\.py:name$",
        ),
        ("gaussian_blur:1,2", (3, 8, 8), 1, r"8 x 8 pixels for 'blur 2 px'.* at most 1\.75"),
        ("grayscale:0,1", (1, 8, 8), 1, r"found items of shape \(1, 8, 8\), expected red, green"),
        ("gaussian_blur:1,2", (8,), 1, r"found items of shape \(8,\)"),
    ],
)  # fmt: skip
def test_sets_that_do_not_suit_the_samples(text, shape, scale, message):
    result, _ = typed(text, shape, scale)
    assert result.exit_code == 2
    (sentence,) = result.stderr.splitlines()
    assert re.search(message, sentence), sentence


def test_help_names_every_set():
    measure = get_command(cli.app).commands["measure"]
    (option,) = (each for each in measure.params if each.name == "transformations")
    for text in (measure.help, option.help):
        named = set(re.findall(r"\w+", text))
        assert {"rotation", "scale", "translation", "flip", "combined", "identity", *NEW} <= named
