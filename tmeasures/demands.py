"""What measures demand of a run: samples, transformations, layers, and bytes for the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tmeasures.capture import Layer
from tmeasures.errors import ArgumentError
from tmeasures.fields import Field
from tmeasures.measures import Measure, Quantities
from tmeasures.statistics import QUANTITIES
from tmeasures.strata import How, planned_bytes
from tmeasures.transformations.actions import Actions


def left_out_of(
    measure: Measure,
    layers: Sequence[Layer],
    actions: Mapping[str, Actions | str],
    no_inverse: str | None,
) -> dict[str, str]:
    """From the layers that a measure cannot be had of to the reasons.

    Args:
        measure: The measure.
        layers: All layers.
        actions: How the transformations act on each layer's outputs, or why that is not known.
        no_inverse: Why they cannot be taken back; None where they can.
    """
    if no_inverse is not None and any(kind.inverts for kind in measure.kinds):
        return dict.fromkeys((layer.name for layer in layers), no_inverse)
    found: dict[str, str] = {}
    for layer in layers:
        reasons = (kind.applies(layer.dims, actions.get(layer.name)) for kind in measure.kinds)
        if why := next(filter(None, reasons), None):
            found[layer.name] = why
    return found


def obtained(
    measures: Sequence[Measure],
    left_out: Mapping[str, Mapping[str, str]],
    layers: Sequence[Layer],
    everything: bool,
) -> list[Measure]:
    """The measures that some layer gives; one that none does is an error.

    Args:
        measures: What is asked for.
        left_out: From measures to the layers that they cannot be had of, and why.
        layers: All layers.
        everything: Whether all that can be had is asked for: then no error.
    """
    found: list[Measure] = []
    for measure in measures:
        reasons = left_out[str(measure)]
        if len(reasons) < len(layers):
            found.append(measure)
        elif not everything:
            moves = any(kind.moves for kind in measure.kinds)
            advice = ", or say how outputs move by action=" if moves else ""
            raise ArgumentError(
                f"no layer gives {measure}: {next(iter(reasons.values()))}; name layers that have "
                f"one, or give their dims by layout={advice}"
            )
    return found


def enough(measures: Iterable[Measure], n: int | None, m: int, strata: Sequence[int] = ()) -> None:
    """Whether samples and transformations suffice for the measures: else an error.

    Args:
        measures: What is wanted.
        n: Samples; None where that is not known.
        m: Transformations.
        strata: Samples in each stratum.
    """
    where = " in the largest stratum" if strata else ""
    n = max(strata, default=n)
    for measure in measures:
        least_n, least_m = measure.least
        if m < least_m:
            raise ArgumentError(
                f"{measure.short} needs at least {least_m} transformations and there "
                f"{'is' if m == 1 else 'are'} {m}; give a set such as tm.rotations(16)"
            )
        if n is not None and n < least_n:
            raise ArgumentError(
                f"{measure.short} needs at least {least_n} samples and there "
                f"{'is' if n == 1 else 'are'} {n}{where}; give more samples, or leave the measure "
                "out"
            )


def result_bytes(
    measures: Iterable[Measure], errors: bool, stratify: How | None, n_strata: int
) -> int:
    """Bytes of all variables for one activation; an error where two measures share a name."""
    fields: dict[str, Field] = {}
    given_by: dict[str, Measure] = {}
    for measure in measures:
        for name, field in _of_one_unit(measure, errors).items():
            if name in given_by:
                raise ArgumentError(
                    f"{given_by[name]} and {measure} would both be the variable {name}; measure "
                    f"one of them at a time"
                )
            given_by[name] = measure
            fields[name] = field
    if stratify is not None:
        return sum(planned_bytes(fields, stratify, n_strata))
    return 1 + sum(field.nbytes for field in fields.values())


def _of_one_unit(measure: Measure, errors: bool) -> dict[str, Field]:
    """The variables of a measure for one activation, checked."""
    needs = measure.needs | (measure.error_needs if errors else frozenset())
    kinds = [kind for own in measure.kinds for kind in (own, *own.before)]
    given = QUANTITIES.union(*(kind.provides for kind in kinds))
    if unknown := needs - given:
        raise ArgumentError(
            f"measure {measure} needs {', '.join(sorted(unknown))}, which no statistic gives; "
            f"choose among {', '.join(sorted(given))}"
        )
    values = {name: np.ones(1) for name in needs | {"largest"}}
    for kind in kinds:
        if kind.signs > 1:
            values |= {name: np.ones((kind.signs, 1)) for name in kind.provides}
    one = Quantities(2, 2, values)
    found = measure.finalize(one) | (measure.standard_errors(one) if errors else {})
    for name, field in found.items():
        if field.values.shape[len(field.leading) :] != (1,):
            raise ArgumentError(
                f"measure {measure} made {name} of shape {field.values.shape} for one unit; "
                f"keep the shape of the quantities, after the dims named in leading"
            )
    measure.conclude([found])
    return found
