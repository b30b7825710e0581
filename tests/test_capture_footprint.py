"""Bytes counted operation by operation, against answers worked out by hand."""

import pytest
import torch
from torch import nn

from tmeasures.capture import Network
from tmeasures.footprint import growth, peak_bytes, timeline


def test_peak_of_a_sequential_by_hand():
    model = nn.Sequential(
        nn.Linear(10, 100), nn.ReLU(inplace=True), nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 5)
    )
    x = torch.ones(4, 10)
    with torch.no_grad():
        # The first product lives until the second exists; the ReLU in between is in place.
        assert peak_bytes(lambda: model(x)) == 4 * 4 * (100 + 50)


def test_views_and_what_was_there_before_count_nothing():
    x = torch.ones(100)
    assert peak_bytes(lambda: x.view(10, 10).t()[2:].add_(1)) == 0
    assert peak_bytes(lambda: None) == 0
    kept = []
    assert peak_bytes(lambda: kept.append(x + 1)) == 400
    assert timeline(lambda: (x + kept[0]).split(50)) == [400, 400]


def test_growth_takes_each_moment_for_itself():
    # A temporary of 1000 hides, with few inputs, that each input takes 30.
    assert growth([1000, 60], [1000, 90]) == (30, 1000)
    assert growth([10, 20], [30]) == (10, 0)
    assert growth([], []) == (0, 0)


def probe(model, **options):
    network = Network(model, **options)
    with network.session():
        return network.probe(torch.ones(2, 10), torch.ones(3, 10))


def test_probe_bounds_the_peak_of_larger_batches():
    model = nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 5))
    found = probe(model)
    assert (found.bytes_per_input, found.bytes_fixed) == (4 * 200, 0)
    with torch.no_grad():
        assert peak_bytes(lambda: model(torch.ones(64, 10))) == 64 * 800 + 64 * 40


@pytest.mark.parametrize(
    ("take", "copied"),
    [
        (lambda x: x, 0),
        (lambda x: x.view(-1, 5, 2).transpose(1, 2), 0),
        (lambda x: x.view(-1, 5, 2).movedim(0, 1), 0),
        (lambda x: x[:, ::2], 4 * 5),
        (lambda x: x[:, :3], 4 * 3),
        (lambda x: x[:, :1].expand(-1, 9), 4 * 9),
    ],
)
def test_outputs_with_gaps_are_copied(take, copied):
    found = probe(nn.Sequential(nn.ReLU()), layers="0", activations={"0": take})
    assert (found.bytes_per_input, found.bytes_fixed) == (40 + copied, 0)


class Fixed(nn.Module):
    def forward(self, x):
        return x * torch.ones(1000).sum()


def test_probe_separates_what_does_not_grow():
    found = probe(Fixed())
    assert found.bytes_per_input == 40
    assert found.bytes_fixed >= 4000


class Refusing(nn.Module):
    """Fails where its operations are counted."""

    def forward(self, x):
        if torch.utils._python_dispatch._len_torch_dispatch_stack():
            raise RuntimeError("no modes, please")
        return torch.cat([x, x], 1)


def test_probe_falls_back_to_the_sum_of_outputs():
    found = probe(nn.Sequential(Refusing(), nn.ReLU()))
    # Two leaves and the container, each 20 floats an input.
    assert (found.bytes_per_input, found.bytes_fixed) == (3 * 80, 0)


class Arrays:
    def run(self, batch):
        return {"a": batch, "b": batch[:, :5]}


def test_probe_of_arrays_is_the_sum_of_outputs():
    assert probe(Arrays()).bytes_per_input == 60


def test_convolutions_copy_contiguous_images_into_blocks_of_channels():
    convolution = nn.Conv2d(16, 32, 3, padding=1)
    images = torch.rand(2, 16, 8, 8)
    size = images.nbytes
    peaks = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = images.contiguous(memory_format=layout)
        with torch.no_grad():
            peaks.append(peak_bytes(lambda x=x: convolution(x)))
    assert peaks == [2 * size + size + 2 * size, 2 * size]
