"""Maps and their transformations in torch operations, for devices numba does not serve; float64.

A tile is widened some samples and channels at a time, so that what is live beside the state stays
near ``CHUNK_BYTES`` whatever the size of the layer; the pairs of one map at a time. The formulas
are those of the numba kernels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tmeasures.kernels import ROUNDING, torch_moments

# Tensors of a chunk's size that are alive at once: moved maps, their squares, what is gathered,
# differences, and what was left out of these.
_ALIVE = 6


def _chunks(channels: int, s: int, row: int, pairs: int) -> Iterator[tuple[slice, list[slice]]]:
    """Samples, and the pieces of the channels for them; the sums of pairs are kept meanwhile."""
    most = torch_moments.CHUNK_BYTES // (8 * _ALIVE)
    wide = max(1, min(channels, most // row))
    deep = max(1, min(s, most // (wide * row + pairs)))
    pieces = [slice(c, c + wide) for c in range(0, channels, wide)]
    for i in range(0, s, deep):
        yield slice(i, i + deep), pieces


def _moved(x: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Maps ``(channel, s, t or 1, value)`` in float64, each from its taps."""
    x, total = x.double().expand(-1, -1, len(index), -1), None
    for of_tap, w in zip(index.long().unbind(1), weight.unbind(1), strict=True):
        values = x.gather(3, of_tap.expand(x.shape)).mul_(w)
        total = values if total is None else total.add_(values)
    assert total is not None
    return total


def _add_squares(
    maps: Tensor, valid: Tensor, rows: Tensor, seen: Tensor, last: bool, into: Tensor
) -> None:
    """Add the squares about the mean of each location, or join them to those of its rows.

    The sums are about the first map that counts: equal values then have none.
    """
    count = valid.sum(0).double()
    first = valid.int().argmax(0).expand(*maps.shape[:2], 1, -1)
    about = (maps - maps.gather(2, first)).masked_fill_(~valid, 0)
    mean = about.sum(2, keepdim=True) / count.clamp(min=1)
    squares = (about - mean).masked_fill_(~valid, 0).square_().sum(2)
    if len(rows):
        mean = (mean + maps.gather(2, first)).squeeze(2)
        earlier = rows.unbind(1)  # (s, channel, value) each
        share = count / (seen + count).clamp(min=1)
        gap = (mean.transpose(0, 1) - earlier[0]).masked_fill_(count == 0, 0)
        earlier[0].add_(gap * share)
        earlier[1].add_(squares.transpose(0, 1) + gap.square() * (seen * share))
        if last:
            squares = earlier[1].transpose(0, 1).clone()
            rows.zero_()
    if last:
        into += squares.sum(1)


def _add_sums(maps: Tensor, valid: Tensor, p: int, unit: bool, sums: Tensor) -> None:
    """Add to the sums of a map and the later ones: squared differences, and both maps' squares."""
    both = valid[p] & valid[p + 1 :]
    one, others = maps[:, :, p : p + 1], maps[:, :, p + 1 :]
    sums[0] += (others - one).masked_fill_(~both, 0).square_().sum(-1)
    if unit:
        sums[1] += one.masked_fill(~both, 0).square_().sum(-1)
        sums[2] += others.masked_fill(~both, 0).square_().sum(-1)


def _distances(sums: Tensor, unit: bool) -> Tensor:
    squares, of_one, of_other = sums
    if not unit:
        return torch.sqrt(squares)
    a, b = of_one.sqrt(), of_other.sqrt()
    rest = squares - (a - b).square_()
    rest = rest.masked_fill_(rest < ROUNDING * squares, 0)
    found = (rest / (a * b)).sqrt_()
    either = ((of_one == 0) | (of_other == 0)) & (of_one + of_other).isfinite()
    return torch.where(either, (of_one != of_other).double(), found)


def returned(
    x: Tensor,
    index: Tensor,
    weight: Tensor,
    valid: Tensor,
    kept: Tensor,
    unit_norm: bool,
    squares: Tensor,
    open_rows: Tensor,
    seen: Tensor,
    last: bool,
    distances: Tensor,
) -> None:
    """See `tmeasures.kernels.Backend.returned`."""
    channels, s, t, size = x.shape
    pairs, layer = distances.numel() > 0, distances.numel() == 1
    for samples, pieces in _chunks(channels, s, t * size, t * t):
        rows = len(range(s)[samples])
        found = squares.new_zeros(t, 3, 1, rows, t) if layer else None
        for piece in pieces:
            maps = _moved(x[piece, samples], index, weight)
            if squares.numel():
                of_rows = open_rows[samples, :, piece]
                _add_squares(maps, valid, of_rows, seen, last, squares[piece])
            for p in range(t - 1 if pairs else 0):
                sums = squares.new_zeros(3, *maps.shape[:2], t - 1 - p)
                _add_sums(maps, valid, p, unit_norm, sums)
                if found is not None:
                    found[p, :, :, :, p + 1 :] += sums.sum(1, keepdim=True)
                else:
                    apart = _distances(sums, unit_norm)[..., kept[p, p + 1 :]]
                    distances[piece] += apart.sum((1, 2))
        if found is not None:
            apart = _distances(found.transpose(0, 1), unit_norm)
            distances += apart.masked_fill(~kept[:, None, None], 0).sum()


def moved(x: Tensor, index: Tensor, weight: Tensor, first: int, out: Tensor) -> None:
    """See `tmeasures.kernels.Backend.moved`."""
    channels, s, _, size = x.shape
    for samples, pieces in _chunks(channels, s, len(index) * size, 0):
        for piece in pieces:
            maps = _moved(x[piece, samples], index, weight)
            out[samples, first : first + len(index), piece] = maps.permute(1, 2, 0, 3).to(out)


def carried(
    x: Tensor, reference: Tensor, index: Tensor, weight: Tensor, valid: Tensor, totals: Tensor
) -> None:
    """See `tmeasures.kernels.Backend.carried`."""
    channels, s, t, size = x.shape
    for samples, pieces in _chunks(channels, s, t * size, 0):
        for piece in pieces:
            maps = _moved(reference[piece, samples].unsqueeze(2), index, weight)
            gaps = (x[piece, samples] - maps).masked_fill_(~valid, 0)
            totals[0, piece] += torch.linalg.vector_norm(gaps, dim=-1).sum((1, 2))
            norms = torch.linalg.vector_norm(maps.masked_fill_(~valid, 0), dim=-1)
            totals[1, piece] += norms.sum((1, 2))
