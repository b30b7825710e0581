"""The demo: a network that saw rotated digits becomes invariant to rotation, and here is where.

Also an example of the whole library: ``compare`` measures, the rest makes something worth
measuring.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tmeasures as tm
from tmeasures.errors import ArgumentError, ResultError, TMeasuresError
from tmeasures.progress import bar
from tmeasures.simple_conv import SimpleConv

if TYPE_CHECKING:
    import xarray as xr

EPOCHS = 80
"""Passes over the digits that bring both networks over 95 % in their own setting."""

ANGLES = 16
"""Rotations under which the networks are measured, as in the paper."""

NETWORKS = ("plain", "augmented")
"""Trained on upright digits, and on digits rotated at random."""

CLEAR = 1.25
"""Two median NV whose ratio is below this are called alike."""

FILTERS = 16
"""Of the first convolution."""

BATCH = 64
RATE = 3e-3
DECAY = 0.05
HELD_OUT = 450


class Digits(NamedTuple):
    """Images ``(n, 1, 16, 16)`` from 0 to 1, and the digits that they show."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Report:
    """What a run of the demo found; printed, it is the table that ``tmeasures demo`` shows.

    Attributes:
        accuracy: ``accuracy[network][setting]``, networks as in `NETWORKS`, settings ``"upright"``
            and ``"rotated"``, of the held-out digits.
        invariance: ``invariance[network][layer]``, the median NV of the layer's units.
        distance: ``distance[network][layer]``, the median ND.
        equivariance: ``equivariance[network][layer]``, the median DSE of the layer's feature maps;
            NaN where it has none.
        units: How many units each layer has.
        sentence: What the numbers show.
        files: What was written.
        epochs: Passes over the training digits.
        seconds: Of the whole run.
    """

    accuracy: Mapping[str, Mapping[str, float]]
    invariance: Mapping[str, Mapping[str, float]]
    distance: Mapping[str, Mapping[str, float]]
    equivariance: Mapping[str, Mapping[str, float]]
    units: Mapping[str, int]
    sentence: str
    files: tuple[Path, ...]
    epochs: int
    seconds: float

    def __str__(self) -> str:
        """Accuracies, NV, ND and DSE by layer, and the sentence."""
        header = "".join(f"{name:>12}" for name in NETWORKS)
        lines = [
            f"SimpleConv on handwritten digits, epochs: {self.epochs}; plain saw them upright, "
            f"augmented rotated at random",
            "",
            f"{'accuracy on held-out digits':<30}{header}",
        ]
        for setting in self.accuracy[NETWORKS[0]]:
            shares = "".join(f"{self.accuracy[name][setting]:>12.1%}" for name in NETWORKS)
            lines.append(f"  {setting:<28}{shares}")
        pairs = {"NV": self.invariance, "ND": self.distance, "DSE": self.equivariance}
        lines += ["", " " * 23 + "".join(f"{measure:>24}" for measure in pairs)]
        header = "".join(f"{name:>12}" for _ in pairs for name in NETWORKS)
        lines.append(f"{f'median, {ANGLES} rotations':<20}{'units':>7}{header}")
        for layer, count in self.units.items():
            values = (found[name][layer] for found in pairs.values() for name in NETWORKS)
            cells = (f"{'' if math.isnan(value) else f'{value:.3f}':>12}" for value in values)
            lines.append(f"  {layer:<18}{count:>7}{''.join(cells)}".rstrip())
        return "\n".join([*lines, "", self.sentence])


def run(
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    filters: int = FILTERS,
    progress: bool = True,
) -> Report:
    """Train SimpleConv on digits twice, without and with rotations, measure both, and compare.

    Writes the results ``plain.nc`` and ``augmented.nc``; pictures of both: ``heatmap.png`` and
    ``lines.png`` of the NV, and ``equivariance.png`` of the NV beside the DSE and its floor; and,
    for the command line to measure again, the held-out digits ``digits.npz`` and the weights
    ``plain.pt`` and ``augmented.pt`` for `network`. The same arguments give the same numbers on the
    same machine.

    Args:
        out: Folder for the files; made where it is missing.
        seed: Of the split, the initial weights, the order of training and the rotations.
        epochs: Passes over the training digits.
        filters: Of the first convolution.
        progress: Whether to show bars; never shown where the output is not a terminal.

    Returns:
        The report, which prints readably.

    Raises:
        TMeasuresError: scikit-learn is missing, the folder cannot be written, or no epochs or seed.
    """
    started = time.perf_counter()
    if epochs < 1:
        raise ArgumentError(f"epochs={epochs} trains nothing: give at least 1")
    if not 0 <= seed < 2**63:
        raise ArgumentError(f"seed={seed} is out of range: give one from 0 to 2**63 - 1")
    digits = load_digits()
    folder = _folder(out)
    with _one_thread():
        train, held_out = split(digits, seed)
        networks = {
            name: fit(
                train,
                epochs,
                rotate=name == "augmented",
                seed=seed,
                filters=filters,
                progress=progress,
            )
            for name in NETWORKS
        }
        accuracy = {name: accuracies(network, held_out) for name, network in networks.items()}
        trees = compare(networks, held_out, seed=seed, progress=progress)
    invariance, distance, equivariance = (
        {name: medians(tree, measure) for name, tree in trees.items()}
        for measure in ("NV", "ND", "DSE")
    )
    summary = tm.summary(trees[NETWORKS[0]])
    return Report(
        accuracy,
        invariance,
        distance,
        equivariance,
        dict(zip(summary.layer.values.tolist(), summary.n_units.values.tolist(), strict=True)),
        conclusion(invariance),
        (*write(trees, folder), *keep(networks, held_out, folder)),
        epochs,
        time.perf_counter() - started,
    )


def load_digits() -> Digits:
    """The 1797 handwritten digits of scikit-learn, 8x8, enlarged to 12x12 in a frame of 16x16.

    The margin keeps the corners of a digit in the frame when it turns.

    Raises:
        TMeasuresError: scikit-learn is missing.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise TMeasuresError(
            "the digits of the demo come with scikit-learn, which is not installed: run pip "
            'install "tmeasures[demo]"'
        ) from None
    pixels, labels = datasets.load_digits(return_X_y=True)
    images = torch.as_tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    enlarged = F.interpolate(images, size=(12, 12), mode="bilinear")
    return Digits(F.pad(enlarged, (2, 2, 2, 2)), torch.as_tensor(labels))


def split(digits: Digits, seed: int) -> tuple[Digits, Digits]:
    """A seeded choice of digits to train on, and the held-out rest."""
    order = torch.randperm(len(digits.labels), generator=torch.Generator().manual_seed(seed))
    held_out, train = order[:HELD_OUT], order[HELD_OUT:]
    return (
        Digits(digits.images[train], digits.labels[train]),
        Digits(digits.images[held_out], digits.labels[held_out]),
    )


def fit(
    digits: Digits,
    epochs: int,
    *,
    rotate: bool,
    seed: int,
    filters: int = FILTERS,
    progress: bool = False,
) -> SimpleConv:
    """A SimpleConv trained on digits, as they are or rotated anew each time they are seen."""
    network = _initial(filters, digits, seed)
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(digits.labels) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    title = f"training on {'rotated' if rotate else 'upright'} digits"
    for _ in bar(title, "epochs", wanted=progress, work=range(epochs)):
        order = torch.randperm(len(digits.labels), generator=generator)
        for chosen in torch.split(order, BATCH):
            images = digits.images[chosen]
            if rotate:
                images = rotated(images, generator)
            loss = F.nll_loss(network(images), digits.labels[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()


def rotated(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned by one of 16 angles drawn from the full circle for this batch."""
    angles = 360 * torch.rand(16, generator=generator)
    turned = tm.rotations(angles.tolist()).apply(images)
    chosen = torch.randint(len(angles), (len(images),), generator=generator)
    return turned[torch.arange(len(images)), chosen]


def accuracies(network: nn.Module, digits: Digits) -> dict[str, float]:
    """The share of digits recognised, upright and over all rotations of each."""
    turned = tm.rotations(ANGLES).apply(digits.images)
    with torch.no_grad():
        found = network(turned.flatten(0, 1)).argmax(1).unflatten(0, turned.shape[:2])
    right = (found == digits.labels[:, None]).double()
    return {"upright": right[:, 0].mean().item(), "rotated": right.mean().item()}


def compare(
    networks: Mapping[str, nn.Module], digits: Digits, *, seed: int = 0, progress: bool = False
) -> dict[str, xr.DataTree]:
    """How each activation of each network reacts to rotations of the digits."""
    return {
        name: tm.measure(
            network,
            digits.images,
            tm.rotations(ANGLES),
            measures="all",
            labels=digits.labels.numpy(),
            # A tile that does not follow free memory: the same bits in every run.
            batch_size=512,
            seed=seed,
            progress=progress,
        )
        for name, network in networks.items()
    }


def medians(tree: xr.DataTree, measure: str = "NV") -> dict[str, float]:
    """The median of a measure in each layer, in forward order."""
    found = tm.summary(tree)[f"{measure}_median"]
    return dict(zip(found.layer.values.tolist(), found.values.tolist(), strict=True))


def conclusion(invariance: Mapping[str, Mapping[str, float]]) -> str:
    """What the median NV by layer of the two networks show, in one sentence."""
    layers = list(invariance[NETWORKS[0]])
    best, other = sorted(NETWORKS, key=lambda name: invariance[name][layers[-1]])
    apart = [invariance[other][layer] >= CLEAR * invariance[best][layer] for layer in layers]
    low, high = invariance[best][layers[-1]], invariance[other][layers[-1]]
    if not apart[-1]:
        return (
            f"Under rotation the outputs of the two networks vary alike: a median NV of {low:.3g} "
            f"in {layers[-1]} of the {best} one, {high:.3g} of the {other} one."
        )
    parting = max((i for i, clear in enumerate(apart) if not clear), default=-1) + 1
    return (
        f"Under rotation the output of the {best} network varies {high / low:.1f} times less than "
        f"that of the {other} one (median NV {low:.3g} against {high:.3g} in {layers[-1]}); they "
        f"part in {layers[parting]}, from which on the {best} network is the more invariant by a "
        f"factor of at least {CLEAR:g} in every layer."
    )


def write(trees: Mapping[str, xr.DataTree], folder: Path) -> tuple[Path, ...]:
    """Save each result, and pictures of the NV of both, and of their ND and DSE beside it."""
    for name, tree in trees.items():
        tm.save(tree, folder / f"{name}.nc")
    first = trees[NETWORKS[0]]
    n, m = first.attrs["n_samples"], first.attrs["n_transformations"]
    title = f"of SimpleConv under {m} rotations of {n} digits"
    pictures = {
        "heatmap.png": tm.plots.heatmap(trees, "NV", title=f"NV {title}"),
        "lines.png": tm.plots.lines(trees, "NV", statistic="median", title=f"NV {title}"),
        "equivariance.png": tm.plots.lines(
            trees,
            ["NV", "ND", "DSE", "DSE_floor"],
            statistic="median",
            title=f"NV, ND and DSE {title}",
        ),
    }
    for file, figure in pictures.items():
        figure.savefig(folder / file)
    return tuple(folder / file for file in (*(f"{name}.nc" for name in trees), *pictures))


def keep(networks: Mapping[str, nn.Module], digits: Digits, folder: Path) -> tuple[Path, ...]:
    """Save the weights of each network, and the digits that they were measured on."""
    for name, trained in networks.items():
        torch.save(trained.state_dict(), folder / f"{name}.pt")
    np.savez_compressed(folder / "digits.npz", images=digits.images, labels=digits.labels)
    return (*(folder / f"{name}.pt" for name in networks), folder / "digits.npz")


def network() -> SimpleConv:
    """The demo's network, untrained, for ``--model tmeasures.demo:network``.

    Example:
        >>> network()(torch.rand(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """
    return SimpleConv(FILTERS, (1, 16, 16), 10)


def _initial(filters: int, digits: Digits, seed: int) -> SimpleConv:
    classes = int(digits.labels.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return SimpleConv(filters, tuple(digits.images.shape[1:]), classes)


def _folder(out: str | os.PathLike[str]) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(folder, os.W_OK) else "it is read-only"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise ResultError(f"cannot write to the folder {str(folder)!r}: {reason}; name another")
    return folder


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread, so that the numbers do not depend on how many cores there are.

    A second saves about a third of the time on so small a network, and takes several times as long
    where the cores are shared.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
