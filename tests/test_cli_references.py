import pickle
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tmeasures.cli.references import load, make, model
from tmeasures.cli.weights import fill
from tmeasures.errors import ArgumentError, TransformationError

pytestmark = pytest.mark.usefixtures("folder")

NETWORK = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, classes=3):
            super().__init__()
            self.body = nn.Conv2d(1, 2, 3)
            self.head = nn.Linear(4, classes)

    class Arrays:
        def run(self, batch):
            return {"x": batch}

    class holder:
        inner = Net

    network = Net(2)
    number = 3

    def made():
        return Net(5)

    def of_size(classes, *, bias):
        return Net(classes)

    def broken():
        return undefined_name

    def nothing():
        pass

    def both():
        return Net(), number

    def leaves():
        raise SystemExit(2)

    def ours():
        import tmeasures as tm
        return tm.rotations(0)
"""


def write(path, text=NETWORK):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def refused(pattern, function, *arguments, kind=ArgumentError):
    with pytest.raises(kind, match=pattern) as caught:
        function(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert not text.endswith(".")
    return text


# Names


def test_module_and_dotted_name():
    assert load("torch.nn:Flatten", "--x") is nn.Flatten
    assert load("torch:nn.Flatten", "--x") is nn.Flatten
    assert load(" torch.nn : Flatten ", "--x") is nn.Flatten


def test_module_of_the_current_directory():
    write("pkg_here/__init__.py", "")
    write("pkg_here/nets.py")
    assert load("pkg_here.nets:number", "--x") == 3


@pytest.mark.parametrize("absolute", [False, True])
def test_file_with_siblings(folder, absolute):
    write("code/net_a.py", "from sibling_a import number\nclass Net: pass")
    write("code/sibling_a.py", "number = 8")
    path = folder / "code/net_a.py" if absolute else "code/net_a.py"
    assert load(f"{path}:number", "--x") == 8
    assert load(f"{path}:Net.__name__", "--x") == "Net"


def test_file_is_loaded_once_and_its_objects_are_pickled():
    write("net_b.py", "print('loaded')\n" + textwrap.dedent(NETWORK))
    first, again = load("net_b.py:Net", "--x"), load("./net_b.py:Net", "--y")
    assert first is again
    assert load("net_b:Net", "--z") is first
    assert isinstance(pickle.loads(pickle.dumps(first())), first)


def test_name_in_a_file_whose_stem_is_no_identifier():
    write("my-net.v2.py")
    net = load("my-net.v2.py:Net", "--x")
    assert isinstance(pickle.loads(pickle.dumps(net())), net)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("net.py", r"such as net\.py:make"),
        ("torchvision.models.resnet18", r"such as torchvision\.models:resnet18"),
        ("resnet18", "expected package.module:name"),
        ("", "expected package.module:name"),
        (":make", "expected package.module:name"),
        ("net.py:", "expected package.module:name"),
        ("net.py:make()", "without parentheses"),
        ("net.py:make(3)", "without parentheses"),
        ("net.py:a..b", "expected package.module:name"),
        ("net.py:1", "expected package.module:name"),
        ("a-b:make", "no module or .py file"),
        ("models/net:make", "no module or .py file"),
        ("net.ipynb:make()", "without parentheses"),
    ],
)
def test_texts_that_name_nothing(text, advice):
    found = refused(advice, load, text, "--model")
    assert found.startswith(f"--model {text!r} names no ")


def test_missing_file_and_folder(folder):
    refused(rf"'nets/a\.py' does not exist in {folder}", load, "nets/a.py:make", "--x")
    refused(r"'/nowhere/a\.py' does not exist;", load, "/nowhere/a.py:make", "--x")
    (folder / "dir.py").mkdir()
    refused("importing 'dir.py' raised IsADirectoryError", load, "dir.py:make", "--x")


def test_missing_module_against_a_missing_import_inside_it():
    missing = "there is no module {}; install it, start in the folder where it lies"
    refused(missing.format("'not_there_c'"), load, "not_there_c:make", "--model")
    refused(missing.format("'not_there_c'"), load, "not_there_c.deep.er:make", "--model")
    refused(missing.format("'torch.not_there'"), load, "torch.not_there:make", "--model")
    write("net_c.py", "\nimport not_there_d.nn\n")
    for text in ("net_c:make", "net_c.py:make"):
        refused(
            r"importing '.*' raised ModuleNotFoundError: No module named 'not_there_d' "
            r"\(net_c\.py, line 2\); .* install 'not_there_d'",
            load,
            text,
            "--model",
        )


def test_missing_name():
    write("net_d.py")
    refused(r"no 'nettwork' in it \(did you mean 'network'\?\)", load, "net_d.py:nettwork", "--x")
    text = refused("no 'zzz' in it, which defines Arrays, Net, both, ", load, "net_d.py:zzz", "--x")
    assert "nn" not in text  # imported, not defined there
    refused(r"no 'inne' in it \(did you mean 'inner'\?\)", load, "net_d.py:holder.inne", "--x")
    refused("no 'zzz' in it;", load, "net_d.py:number.zzz", "--x")


def test_a_file_of_a_package_is_named_as_a_module():
    write("pkg_p/__init__.py", "")
    write("pkg_p/base.py", "number = 4")
    write("pkg_p/net_p.py", "from .base import number")
    refused(
        r"net_p\.py, line 1\).* package\.module:name, started in the folder that holds the package",
        load,
        "pkg_p/net_p.py:number",
        "--model",
    )
    assert load("pkg_p.net_p:number", "--model") == 4


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1\n\ny = 1 / 0\n", r"ZeroDivisionError: division by zero \(bad_e\.py, line 3\)"),
        ("def f(:\n", r"SyntaxError: invalid syntax \(bad_e\.py, line 1\)"),
        ("\nif x = 3:\n    pass", r"SyntaxError: .* Maybe .* \(bad_e\.py, line 2\)"),
        ("from torch import nothing_such\n", r"ImportError: cannot import .*\(bad_e\.py, line 1\)"),
        ("raise SystemExit(1)", r"SystemExit: 1 \(bad_e.py, line 1\).*if __name__ == '__main__'"),
        ("raise ValueError('a\\nb')", r"ValueError: a \(bad_e\.py, line 1\)"),
        ("raise ValueError", r"ValueError \(bad_e\.py, line 1\)"),
        ("import json\njson.loads('{')\n", r"JSONDecodeError: .*\(bad_e\.py, line 2\)"),
        ("import help_e\n", r"KeyError: 'a' \(help_e\.py, line 1\)"),
    ],
)
def test_files_that_raise_name_the_error_and_the_users_line(text, error):
    write("help_e.py", "{}['a']")
    write("bad_e.py", text)
    for source in ("bad_e.py", "bad_e"):
        refused(rf"importing '{source}' raised {error}", load, f"{source}:make", "--model")
        assert "bad_e" not in sys.modules


def test_an_import_that_failed_can_be_mended():
    write("net_f.py", "1 / 0")
    refused("ZeroDivisionError", load, "net_f.py:Net", "--model")
    write("net_f.py", "Net = 'mended'")
    assert load("net_f.py:Net", "--model") == "mended"


def test_interrupts_pass():
    write("net_g.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load("net_g.py:Net", "--model")
    assert "net_g" not in sys.modules


def test_a_file_may_not_take_the_place_of_a_loaded_module():
    write("torch.py")
    refused("name of a module that is already loaded, 'torch'", load, "torch.py:Net", "--model")
    assert sys.modules["torch"] is torch
    write("net_h.py")
    write("other/net_h.py")
    load("net_h.py:Net", "--model")
    refused("rename the file", load, "other/net_h.py:Net", "--transformations")


# Networks


@pytest.mark.parametrize(
    ("name", "outputs"), [("network", 2), ("Net", 3), ("made", 5), ("holder.inner", 3)]
)
def test_network_class_or_function(name, outputs):
    write("net_i.py")
    assert model(f"net_i.py:{name}").head.out_features == outputs


def test_network_given_is_not_called_or_copied():
    write("net_j.py")
    assert model("net_j.py:network") is sys.modules["net_j"].network


def test_object_with_run():
    write("net_k.py", NETWORK + "\n    arrays = Arrays()\n")
    assert model("net_k.py:arrays") is sys.modules["net_k"].arrays
    assert type(model("net_k.py:Arrays")).__name__ == "Arrays"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", "is 3; expected a torch.nn.Module"),
        ("of_size", r"needs arguments \(classes, bias\).*'def make\(\): return of_size\(classes="),
        ("broken", r"was called and raised NameError: .*'undefined_name'.*\(net_l\.py, line 28\)"),
        ("nothing", "returned None; expected"),
        ("both", r"returned a tuple \(a net_l\.Net, 3\); .* return it alone"),
        ("leaves", r"was called and raised SystemExit: 2 \(net_l\.py"),
        ("nn", "is a module"),
    ],
)
def test_what_gives_no_network(name, message):
    write("net_l.py")
    refused(rf"--model 'net_l\.py:{name}' {message}", model, f"net_l.py:{name}")


def test_errors_of_this_library_are_sentences_already():
    write("net_m.py")
    refused("^n=0", model, "net_m.py:ours", kind=TransformationError)


def test_errors_of_libraries_are_placed_where_they_arose():
    refused(
        r"raised ValueError: .*\(distributed_c10d\.py, line \d+\)",
        make,
        torch.distributed.barrier,
        "torch.distributed:barrier",
        "--model",
    )


def test_a_module_with_a_function_run_is_an_object_with_run():
    write("runs_m.py", "def run(batch):\n    return {}\n")
    write("holds_m.py", "import runs_m")
    assert model("holds_m:runs_m") is sys.modules["runs_m"]


def test_a_class_with_run_is_made_and_a_builtin_without_signature_is_called():
    assert make(dict, "builtins:dict", "--x") == {}
    assert make(lambda *rest, **more: 4, "a:b", "--x") == 4


def test_weights_in_place_of_code():
    refused("is a file of weights; .* --weights resnet18.pth", model, "resnet18.pth")


# Weights


@pytest.fixture
def net(folder):
    write("net_w.py")
    torch.manual_seed(0)
    return model("net_w.py:Net")


def changed(net):
    return {name: value + 1 for name, value in net.state_dict().items()}


def assert_loaded(net, state):
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("nest", ["", "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_state_dicts_of_all_wrappings(net, nest, prefix):
    state = changed(net)
    saved = {f"{prefix}{name}": value for name, value in state.items()}
    torch.save({nest: saved, "epoch": 3} if nest else saved, "weights.pt")
    assert_loaded(model("net_w.py:Net", Path("weights.pt")), state)


def test_further_state():
    class More(nn.Linear):
        extra = None

        def get_extra_state(self):
            return {"seen": 3}

        def set_extra_state(self, state):
            self.extra = state

    network = More(1, 1)
    torch.save(network.state_dict(), "weights.pt")
    fill(network, Path("weights.pt"))
    assert network.extra == {"seen": 3}


def test_a_state_dict_of_torch_keeps_its_versions():
    norm = nn.BatchNorm2d(2)
    state = nn.DataParallel(norm).state_dict()
    state["module.num_batches_tracked"] += 5
    torch.save(state, "weights.pt")
    fill(norm, Path("weights.pt"))
    assert norm.num_batches_tracked == 5


def test_weights_of_old_torch_without_counts_of_batches():
    norm = nn.BatchNorm2d(2)
    state = dict(norm.state_dict(), running_mean=torch.ones(2))
    del state["num_batches_tracked"]
    torch.save(state, "weights.pt")
    fill(norm, Path("weights.pt"))
    assert norm.running_mean.tolist() == [1, 1]


def test_a_prefix_that_the_network_has_too_stays():
    wrapped = nn.ModuleDict({"model": nn.Linear(2, 2)})
    state = changed(wrapped)
    torch.save(state, "weights.pt")
    fill(wrapped, Path("weights.pt"))
    assert_loaded(wrapped, state)


def test_safetensors(net):
    safetensors = pytest.importorskip("safetensors.torch")
    state = changed(net)
    safetensors.save_file(state, "weights.safetensors")
    fill(net, Path("weights.safetensors"))
    assert_loaded(net, state)
    Path("bad.safetensors").write_bytes(b"no tensors")
    refused("is no file of safetensors", fill, net, Path("bad.safetensors"))


def test_safetensors_without_the_package(net, monkeypatch):
    Path("weights.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    refused("run pip install safetensors", fill, net, Path("weights.safetensors"))


def test_a_pickled_network_is_refused_and_runs_no_code(net, capsys):
    write("evil_w.py", "def run():\n    print('ran')\n")

    class Evil:
        def __reduce__(self):
            return load("evil_w.py:run", "--x"), ()

    torch.save(net, "whole.pt")
    refused(
        r"'whole\.pt' holds Python objects such as net_w\.Net, .*torch\.save\(network\.state_dict",
        fill,
        net,
        Path("whole.pt"),
    )
    torch.save({"state_dict": net.state_dict(), "args": Evil()}, "evil.pt")
    refused("holds Python objects such as evil_w.run", fill, net, Path("evil.pt"))
    assert "ran" not in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*jit:DeprecationWarning")
def test_torchscript_is_refused_without_further_words(net):
    torch.jit.trace(nn.Linear(1, 1), torch.ones(1, 1)).save("script.pt")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refused("is a TorchScript archive", fill, net, Path("script.pt"))
    assert not caught


def test_files_that_are_no_weights(net, folder):
    refused(rf"--weights 'gone\.pt' does not exist in {folder}", fill, net, Path("gone.pt"))
    refused(r"is a folder; expected a file", fill, net, folder)
    for content in (b"", b"hello", b"PK\x03\x04 cut short", np.random.default_rng(0).bytes(99)):
        Path("file.pt").write_bytes(content)
        refused("is no file that torch.save wrote", fill, net, Path("file.pt"))
    Path("file.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    refused("pointer that git-lfs left .* git lfs pull", fill, net, Path("file.pt"))


@pytest.mark.parametrize(
    ("saved", "found"),
    [
        ([1, 2], "a list"),
        (torch.zeros(2), r"a torch\.Tensor"),
        ({"net": {"w": torch.zeros(1)}, "epoch": 3}, "a mapping with net, epoch"),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, r"a mapping with a, b, c, \.\.\."),
        ({"state_dict": {"optimizer": 1}}, "a mapping with optimizer"),
    ],
)
def test_files_of_torch_without_a_state_dict(net, saved, found):
    torch.save(saved, "other.pt")
    refused(f"holds {found}; expected a state dict", fill, net, Path("other.pt"))


def test_what_does_not_fit_is_counted_and_named(net):
    state = changed(net)
    torch.save({name.replace("head", "fc"): value for name, value in state.items()}, "w.pt")
    text = refused("do not fit the Net: ", fill, net, Path("w.pt"))
    assert "2 missing (head.weight, head.bias), 2 unexpected (fc.weight, fc.bias);" in text
    state["head.weight"] = torch.zeros(7, 4)
    state["extra"] = torch.zeros(1)
    del state["body.bias"]
    torch.save(state, "w.pt")
    text = refused("do not fit the Net: ", fill, net, Path("w.pt"))
    assert "1 missing (body.bias), 1 unexpected (extra), 1 of unequal shape (head.weight: " in text
    assert "(7, 4) in the file, (3, 4) in the network)" in text
    torch.save({f"layer{i}": torch.zeros(1) for i in range(30)}, "w.pt")
    refused(r"30 unexpected \(layer0, layer1, layer2, \.\.\.\)", fill, net, Path("w.pt"))
    torch.save({}, "w.pt")
    refused(
        r"4 missing \(body\.weight, body\.bias, head\.weight, \.\.\.\)", fill, net, Path("w.pt")
    )


def test_what_a_network_itself_says_of_weights():
    class Picky(nn.Linear):
        def _load_from_state_dict(self, *args):
            args[-1].append("bias is not to my taste")

    network = Picky(1, 1)
    torch.save(network.state_dict(), "w.pt")
    refused("do not fit the Picky: RuntimeError: Error.*; expected", fill, network, Path("w.pt"))


def test_weights_for_an_object_with_run():
    write("net_n.py")
    refused("are for a torch.nn.Module", model, "net_n.py:Arrays", Path("w.pt"))


def test_lazy_networks_take_weights():
    lazy = nn.LazyLinear(2)
    torch.save(nn.Linear(3, 2).state_dict(), "w.pt")
    fill(lazy, Path("w.pt"))
    assert lazy.weight.shape == (2, 3)
    torch.save({"weight": torch.zeros(2, 3)}, "w.pt")
    refused(r"1 missing \(bias\);", fill, nn.LazyLinear(2), Path("w.pt"))
