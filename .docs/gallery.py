"""Draws the pictures that the documentation shows: ``python .docs/gallery.py``, in two minutes."""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

import tmeasures as tm
from tmeasures import demo

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))
from networks import ResNet18  # noqa: E402

WIDTH = 900
"""Pixels; wider pictures are made smaller."""


def main():
    """Draw every kind of picture of SimpleConv and of a residual network."""
    torch.manual_seed(0)
    train, held_out = demo.split(demo.load_digits(), 0)
    networks = {
        name: demo.fit(train, 40, rotate=name == "augmented", seed=0, progress=True)
        for name in demo.NETWORKS
    }
    trees = demo.compare(networks, held_out)
    digits = (held_out.images, held_out.labels)
    draw("simple_conv", networks["augmented"], trees, digits, tm.rotations(8), "elu3")

    images = F.interpolate(held_out.images[:64], size=(64, 64), mode="bilinear")
    images = images.expand(-1, 3, -1, -1)
    residual, angles = ResNet18(classes=10), tm.rotations(8)
    tree = tm.measure(residual, images, angles)
    draw("residual", residual, {"ResNet18": tree}, images, angles, "blocks.2.relu2")


def draw(name, network, trees, samples, transformations, layer):
    """All pictures of the last of some results, or of all of them."""
    tree = list(trees.values())[-1]
    shown = (network, samples, transformations, tree, layer)
    pictures = {
        "heatmap": tm.plots.heatmap(trees, "NV", sort=len(trees) == 1),
        "lines": tm.plots.lines(trees, "NV", statistic="median"),
        "histograms": tm.plots.histograms(tree, "NV", scale="log"),
        "scatter": tm.plots.scatter(tree, "SV", "TV", scale="log"),
        "maps": tm.plots.maps(tree, layer, "NV"),
        "samples": tm.plots.samples(samples, transformations, n_samples=3),
        "features": tm.plots.features(*shown, n_maps=2, n_samples=1),
    }
    for kind, figure in pictures.items():
        path = HERE / "gallery" / f"{name}_{kind}.png"
        figure.savefig(path)
        image = Image.open(path).convert("RGB")
        if image.width > WIDTH:
            size = (WIDTH, image.height * WIDTH // image.width)
            image = image.resize(size, Image.Resampling.LANCZOS)
        image = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        image.save(path, optimize=True)


if __name__ == "__main__":
    main()
