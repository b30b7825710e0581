"""The README's Python runs, in order, as it stands."""

import re
from pathlib import Path

import numpy as np

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
    assert len(blocks) >= 2
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "rotation.nc").exists()
    assert (tmp_path / "rotation.png").exists()
    assert "NV_mean" in capsys.readouterr().out
    own, network, images = names["Correlation"](), names["network"], names["images"]
    rotations = names["tm"].rotations(16)
    (tile,) = names["tm"].walk(network, images, rotations, batch_size=2000)
    for name, cube in tile.values.items():
        found = names["tree"][f"layers/{name}/ICC"].values
        with np.errstate(invalid="ignore"):  # dead units: 0 / 0
            expected = own.reference(cube.double().numpy())["ICC"]
        np.testing.assert_allclose(found, expected, atol=1e-3, err_msg=name)
