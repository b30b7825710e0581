"""The same job by the paper author's library, `tmeasures` 1.2.11 of PyPI, in its own environment.

    PYTHON benchmarks/peer.py FOLDER

A `workers.Worker` that runs under an interpreter of that environment, where `tmeasures` is that
library and not this one. The folder holds ``job.json`` (network, shape, layers, batch), the weights
as ``weights.npz`` and the inputs, already transformed, as ``inputs.npy``: ``(sample,
transformation, *item)``. Its ``transformations`` only look up what they would give, so that moving
the images costs it nothing.
"""

from __future__ import annotations

import gc
import json
import sys
import warnings
from functools import partial
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import NETWORKS
from system import Peak, Reading, timed
from workers import serve

import tmeasures

CPU = torch.device("cpu")


class Rows(torch.utils.data.Dataset):
    """A sample is its transformed images, one after another."""

    def __init__(self, inputs: torch.Tensor) -> None:
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.inputs[index]


class Peer:
    """The job made ready.

    Args:
        folder: Where it lies, and where values are written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        job: dict[str, Any] = json.loads((folder / "job.json").read_text())
        model = NETWORKS[job["network"]](tuple(job["shape"])).eval()
        with np.load(folder / "weights.npz") as weights:
            model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights})
        self.inputs = torch.from_numpy(np.load(folder / "inputs.npy"))
        names = {module: name for name, module in model.named_modules()}
        self.model = tmeasures.pytorch.AutoActivationsModule(
            model, filter=lambda module: names[module] in job["layers"]
        )
        self.layers = [names[module] for module in self.model.activations]
        self.measure = tmeasures.pytorch.NormalizedVarianceInvariance()
        self.options = tmeasures.pytorch.PyTorchMeasureOptions(
            batch_size=job["batch"], verbose=False
        )
        columns = range(self.inputs.shape[1])
        self.transformations = [itemgetter(j) for j in columns]

    def run(self, n: int) -> Any:
        """The normalized variance of n samples."""
        samples = Rows(self.inputs[:n])
        return self.measure.eval(samples, self.transformations, self.model, self.options)

    def time(self, n: int) -> Reading:
        """Seconds of it."""
        return timed(partial(self.run, n), CPU)

    def memory(self, n: int) -> int | None:
        """Peak memory of it, over what is held before."""
        gc.collect()
        peak = Peak(CPU)
        self.run(n)
        return peak.bytes()

    def values(self, n: int) -> str:
        """Writes its values, and what it sees of the first sample; gives the file's name."""
        found = self.run(n)
        with torch.no_grad():
            seen = self.model.forward_activations(self.inputs[0])
        arrays = {
            f"NV/{name}": v.numpy() for name, v in zip(self.layers, found.layers, strict=True)
        }
        arrays |= {f"seen/{name}": v.numpy() for name, v in zip(self.layers, seen, strict=True)}
        np.savez(self.folder / "values.npz", **arrays)
        return "values.npz"


def main(folder: str) -> None:
    """Serve what `Peer` does."""
    warnings.simplefilter("ignore")
    peer = Peer(Path(folder))
    peer.run(2)
    about = f"tmeasures {version('tmeasures')}, torch {torch.__version__}"
    serve({"time": peer.time, "memory": peer.memory, "values": peer.values}, about)


if __name__ == "__main__":
    main(sys.argv[1])
