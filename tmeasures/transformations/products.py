"""Products: one transformation, then another, and the set of all such pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tmeasures.transformations.base import (
    Ids,
    Transformation,
    TransformationSet,
    draw_seed,
    joined,
    prepare,
)


class ProductTransformation(Transformation):
    """One transformation, then another.

    ``salt`` is the first one's index: two random factors draw independently of each other.
    """

    def __init__(self, first: Transformation, second: Transformation, salt: int = 0) -> None:
        super().__init__(*joined(first, second))
        self.first, self.second, self.salt = first, second, salt
        self.is_identity = first.is_identity and second.is_identity

    def inverse(self) -> ProductTransformation:
        """The inverses in reverse order; each factor needs one."""
        return ProductTransformation(self.second.inverse(), self.first.inverse())

    def acting_on(
        self, shape: Sequence[int], dims: Sequence[str], item: Sequence[int]
    ) -> Transformation | None:
        """One action, then the other; one of them where the other is the identity."""
        first = self.first.acting_on(shape, dims, item)
        second = self.second.acting_on(shape, dims, item)
        if first is None or second is None:
            return None
        if first.is_identity or second.is_identity:
            return second if first.is_identity else first
        return ProductTransformation(first, second)

    def check(self, batch: Tensor) -> None:
        """Check the first on the batch, the second on its result."""
        self.first.check(batch)
        self.second.check(prepare(self.first(batch)))

    def _apply(self, batch: Tensor, ids: Ids, seed: int) -> Tensor:
        between = self.first._apply(batch, ids, seed)
        return self.second._apply(between, ids, draw_seed(seed, self.salt))

    def _carry(self, mask: Tensor) -> Tensor:
        return self.second._carry(self.first._carry(mask))


class ProductSet(TransformationSet):
    """All products of two sets, applied one after the other."""

    def __init__(self, first: TransformationSet, second: TransformationSet) -> None:
        products = [ProductTransformation(a, b, i) for i, a in enumerate(first) for b in second]
        super().__init__(f"{first.name} * {second.name}", products)
        self.factors = first, second

    def check(self, batch: Tensor) -> None:
        """Check the first set on the batch, the second on its result."""
        first, second = self.factors
        first.check(batch)
        second.check(first.apply(batch, range(1))[:, 0])

    def kept_bytes(self, batch: Tensor) -> int:
        """What both keep, the second one for what the first gives."""
        first, second = self.factors
        between = first.apply(batch[:1], range(1))[:, 0]
        return first.kept_bytes(batch) + second.kept_bytes(between)

    def _apply(self, batch: Tensor, indices: range, ids: Ids, seed: int) -> Tensor:
        first, second = self.factors
        width = len(second)
        rows = range(indices.start // width, (indices.stop - 1) // width + 1)
        between = first._apply(batch, rows, ids, seed)
        outputs = []
        for k, row in enumerate(rows):
            start = max(indices.start - row * width, 0)
            columns = range(start, min(indices.stop - row * width, width))
            outputs.append(second._apply(between[:, k], columns, ids, draw_seed(seed, row)))
        return torch.cat(outputs, 1)
