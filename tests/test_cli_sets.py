import pytest
import torch

import tmeasures as tm
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
    ],
)
def test_named_sets(text, expected):
    found = transformations(text)
    assert repr(found) == repr(expected)
    assert parameters(found) == parameters(expected)


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
        ("blur", r"'blur' is unknown; expected rotation, scale"),
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


@pytest.mark.parametrize("text", ["scale:0,1", "scale:-1", "scale:nan", "translation:0"])
def test_numbers_that_a_set_refuses(text):
    with pytest.raises(TransformationError, match=r"0|-1|nan"):
        transformations(text)
