"""Which outputs of a network become layers, from what it returned for 2 and for 3 inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from tmeasures import hints, naming
from tmeasures.errors import ArgumentError, ModelError, TMeasuresError
from tmeasures.naming import OUTPUT, Call, Function, Key, Node, Result, Trace
from tmeasures.options import Options

_UNCHANGING = (nn.Identity, nn.Flatten, nn.Unflatten, _DropoutNd)
_SPACE = frozenset({"z", "y", "x", "time"})
_PASSED_BY, _MATCHED, _NAMED = range(3)


@dataclass(frozen=True)
class Layer:
    """One measured output of a network.

    Attributes:
        name: Torch's own name, with what tells calls and results apart (``relu#1``, ``lstm.0``).
        shape: Size of each unit dim, for one input; after ``activations=``.
        dims: Name of each unit dim.
        dtype: Of the values handed over.
        kind: Class of the module.

    Example:
        >>> layer = Layer("conv1", (4, 7, 7), ("channel", "y", "x"), torch.float32, "Conv2d")
        >>> layer.n_units
        196
    """

    name: str
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    dtype: torch.dtype
    kind: str

    @property
    def n_units(self) -> int:
        """Number of activations for one input."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Site:
    """Where a layer's values come from.

    Attributes:
        layer: The layer.
        shape: Unit sizes of the tensor that is found there.
        dtype: Of that tensor.
        axis: Its batch axis.
        space: The axes to average over, once the batch axis is in front.
    """

    layer: Layer
    shape: tuple[int, ...]
    dtype: torch.dtype
    axis: int
    space: tuple[int, ...]


@dataclass(frozen=True)
class Selection:
    """What to measure, and what not.

    Attributes:
        sites: By call and result, in forward order.
        functions: The calls whose output goes through a function of ``activations=`` first.
        watched: Paths of the modules whose every call must be known.
        left_out: Names and reasons.
        unpooled: The layers that ``activations="pooled"`` leaves, since nobody knows their dims.
    """

    sites: dict[Key, dict[str, Site]]
    functions: dict[Key, Function]
    watched: set[str]
    left_out: dict[str, str]
    unpooled: list[Layer]


@dataclass(eq=False)
class _Candidate:
    """A result that may become a layer, or a module that was never called.

    ``names`` are what patterns may call it (none: out of reach), ``listed`` says that the default
    includes it, ``first`` that the module's type speaks for it, ``alone`` that no other is there,
    ``part`` that it comes from a function of ``activations=``, ``reshaped`` that this changed the
    number of dims and ``unknown`` that its dims are.
    """

    key: Key
    node: Node | None
    name: str
    names: set[str]
    listed: bool
    suffix: str = ""
    reason: str = ""
    hint: str = ""
    result: Result | None = None
    axis: int = 0
    dims: tuple[str, ...] = ()
    first: bool = True
    alone: bool = False
    part: bool = False
    reshaped: bool = False
    unknown: bool = False
    error: Exception | None = None

    @property
    def unseen(self) -> bool:
        """Whether it was not called, and would not be missed."""
        return bool(self.reason) and self.result is None and not self.listed

    @property
    def kind(self) -> str:
        return type(self.node.module).__name__ if self.node else "array"

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.result.shape if self.result else ()
        return shape[: self.axis] + shape[self.axis + 1 :]


def select(nodes: Mapping[str, Node], two: Trace, three: Trace, options: Options) -> Selection:
    """Chooses, names and lays out the layers of a network.

    Raises:
        ArgumentError: A pattern matches nothing, or a layout has the wrong length.
        ModelError: A layer that the user named, or every layer, cannot be measured.
    """
    candidates = _returned(nodes, two, three) + _never_called(nodes, two, three)
    chosen, left_out = _choose(candidates, options)
    _check(candidates, chosen, left_out, options)
    _lay_out(candidates, chosen, options.layout or {})
    sites: dict[Key, dict[str, Site]] = {}
    for candidate in chosen:
        sites.setdefault(candidate.key, {})[candidate.suffix] = _site(candidate, options)
    functions = {c.key: f for c in chosen if (f := options.function(c.key, c.node))}
    watched = {c.key[0] for c in candidates if c in chosen or c.name in left_out}
    unknown = [c for c in chosen if c.unknown and options.activations == "pooled"]
    unpooled = [_site(c, options).layer for c in unknown]
    return Selection(sites, functions, watched, left_out, unpooled)


def _returned(nodes: Mapping[str, Node], two: Trace, three: Trace) -> list[_Candidate]:
    paths = {alias for node in nodes.values() for alias in node.aliases}
    parents = two.parents | three.parents
    taken = set(paths)
    found: list[_Candidate] = []
    for key in two.calls | three.calls:
        node = nodes.get(key[0])
        pair = two.calls.get(key, Call({})), three.calls.get(key, Call({}))
        others = paths - set(node.aliases) if node and key != OUTPUT else paths
        # A module named "output" keeps its name, and what the network returns gives way as a whole.
        suffixes = [*(pair[0].results | pair[1].results), *([""] if key == OUTPUT else [])]
        name = naming.unique_name(key, suffixes, taken - (paths - others))
        names = (naming.call_names(key, node) - others) | {name}
        call = _Candidate(key, node, name, names, key == OUTPUT or key[0] not in parents)
        for candidate in _of_call(call, pair):
            candidate.names -= others
            taken.add(candidate.name)
            found.append(candidate)
    return found


def _of_call(call: _Candidate, pair: tuple[Call, Call]) -> list[_Candidate]:
    """A candidate for each result; where there is a part, it alone is within reach."""
    parts = pair[0].part, pair[1].part
    found = []
    suffixes = pair[0].results | pair[1].results
    call.alone = len(suffixes) == 1
    for i, suffix in enumerate(suffixes):
        names = call.names | {name + suffix for name in call.names}
        raw = replace(call, suffix=suffix, name=call.name + suffix, names=names, first=i == 0)
        _judge(raw, pair[0].results.get(suffix), pair[1].results.get(suffix))
        if parts != (None, None):
            raw.names = set()
        found.append(raw)
    if parts == (None, None):
        return found
    part = replace(call, names=set(call.names), part=True)
    part.error = next((x for x in parts if isinstance(x, Exception)), None)
    two, three = (None if isinstance(x, Exception) else x for x in parts)
    _judge(part, two, three)
    raws = list(pair[0].results.values())
    part.reshaped = bool(two and len(raws) == 1 and len(two.shape) != len(raws[0].shape))
    return [*found, part]


def _judge(candidate: _Candidate, two: Result | None, three: Result | None) -> None:
    """Finds the batch axis, or the reason why there is nothing to measure."""
    if candidate.error:
        return
    candidate.result = two or three
    if two is None or three is None:
        candidate.reason = "returned for only one of the two probe batches"
        return
    axis = naming.batch_axis(two.shape, three.shape)
    if not two.dtype.is_floating_point:
        candidate.reason = f"{str(two.dtype).removeprefix('torch.')} values, not floating point"
    elif not two.dense:
        candidate.reason = "not a dense tensor"
    elif axis is None:
        candidate.reason = (
            f"batch axis not found: shapes {two.shape} and {three.shape} for 2 and 3 inputs"
        )
        unfold = naming.unfolding(candidate.suffix, two.shape, three.shape)
        call = candidate.name.removesuffix(candidate.suffix)
        candidate.hint = f"unfold it, say with activations={{{call!r}: {unfold}}}" if unfold else ""
    elif 0 in two.shape:
        candidate.reason = f"no values: shape {two.shape} for 2 inputs"
    else:
        candidate.axis = axis


def _never_called(nodes: Mapping[str, Node], two: Trace, three: Trace) -> list[_Candidate]:
    """Every module without a call; listed if it is a leaf that is not inside a called leaf."""
    called = {key[0] for key in two.calls | three.calls if key != OUTPUT}
    leaves = (called or {""}) - two.parents - three.parents
    hidden = {path for leaf in leaves if leaf in nodes for path in nodes[leaf].inside}
    found = []
    for path, node in nodes.items():
        if not path or path in called:
            continue
        runs = type(node.module).forward is not nn.Module.forward
        listed = runs and not node.inside and path not in hidden
        hint = f"measure what is inside it, layers={path + '.*'!r}" if node.inside else ""
        found.append(_Candidate((path, 0), node, path, set(node.aliases), listed, hint=hint))
        found[-1].reason = "never called" + ", its parent computes itself" * (path in hidden)
    return found


def _choose(
    candidates: Sequence[_Candidate], options: Options
) -> tuple[list[_Candidate], dict[str, str]]:
    """What to measure, and the reasons for the rest of what was wanted."""
    chosen: list[_Candidate] = []
    left_out: dict[str, str] = {}
    measured: dict[tuple[Key, str] | None, str] = {}
    for candidate in candidates:
        wanted = _wants(options, candidate)
        reason = candidate.reason
        if wanted == _PASSED_BY or (wanted == _MATCHED and candidate.unseen):
            continue
        source = candidate.result.source if candidate.result else None
        if wanted == _MATCHED and candidate.listed and not reason:
            unchanging = candidate.node and isinstance(candidate.node.module, _UNCHANGING)
            if unchanging and candidate.key != OUTPUT:
                reason = f"{candidate.kind} computes nothing"
            elif source in measured and candidate.key == OUTPUT:
                continue
            elif source in measured:
                reason = f"the very output of {measured[source]!r}"
        if reason:
            left_out[candidate.name] = reason
            continue
        chosen.append(candidate)
        if not candidate.part:
            measured[candidate.key, candidate.suffix] = candidate.name
    return chosen, left_out


def _wants(options: Options, candidate: _Candidate) -> int:
    """Whether the user named a candidate, a pattern or the default reaches it, or neither."""
    layers = options.layers
    if not candidate.names:
        return _PASSED_BY
    if layers is None:
        return _MATCHED if candidate.listed else _PASSED_BY
    if callable(layers):
        if candidate.node is None:
            raise ArgumentError(
                "layers= is a function of (name, module), but the model has no modules; "
                "use patterns of names"
            )
        name = "output" if candidate.key == OUTPUT else candidate.node.aliases[0]
        return _NAMED if layers(name, candidate.node.module) else _PASSED_BY
    if not candidate.names.isdisjoint(options.patterns):
        return _NAMED
    found = any(naming.matches(pattern, candidate.names) for pattern in options.patterns)
    return _MATCHED if found else _PASSED_BY


def _check(
    candidates: Sequence[_Candidate],
    chosen: Sequence[_Candidate],
    left_out: Mapping[str, str],
    options: Options,
) -> None:
    everything = [candidate.name for candidate in candidates if candidate.names]
    for pattern in options.patterns:
        found = [c for c in candidates if naming.matches(pattern, c.names)]
        if not found:
            raise naming.unmatched("layers", pattern, everything)
        named = [c for c in found if pattern in c.names]
        if named and not any(c in chosen for c in named):
            what = named[0].hint or "leave it out of layers="
            raise ModelError(f"layer {pattern!r} cannot be measured: {named[0].reason}; {what}")
    if not chosen:
        raise _nothing(everything, left_out, options)
    for candidate in chosen:
        if isinstance(candidate.error, TMeasuresError):
            raise candidate.error
        if candidate.error:
            why = hints.reason(candidate.error)
            raise ArgumentError(
                f"activations= failed for layer {candidate.name!r} ({why}); give a function of all "
                "that the module returns, batch axis included, that returns a tensor"
            ) from candidate.error
    for argument, patterns in (("activations", options.functions), ("layout", options.layout)):
        for pattern in patterns or ():
            if any(naming.matches(pattern, c.names) for c in chosen):
                continue
            if any(naming.matches(pattern, c.names) for c in candidates):
                raise ArgumentError(
                    f"{argument} pattern {pattern!r} matches only layers that are not measured; "
                    "add them to layers=, or leave it out"
                )
            raise naming.unmatched(argument, pattern, [c.name for c in chosen])


def _nothing(
    everything: Sequence[str], left_out: Mapping[str, str], options: Options
) -> TMeasuresError:
    """The error where no layer is chosen."""
    if not left_out and callable(options.layers) and everything:
        names = ", ".join(map(repr, everything[:5]))
        return ArgumentError(
            f"the function layers= chose none; return True for one, such as {names}"
        )
    reasons = [f"{name}: {reason}" for name, reason in left_out.items()]
    more = [f"{len(reasons) - 3} more"] * (len(reasons) > 3)
    return ModelError(
        "none of the layers can be measured "
        f"({'; '.join(reasons[:3] + more) or 'nothing was returned'}); name others, in full, with "
        "layers=, or take a part of their outputs with activations="
    )


def _lay_out(
    candidates: Sequence[_Candidate],
    chosen: Sequence[_Candidate],
    layout: Mapping[str, Sequence[str]],
) -> None:
    """Names the dims: by ``layout=``, by type, or as in an earlier result of the same shape."""
    seen: dict[tuple[int, ...], tuple[str, ...]] = {}
    for candidate in candidates:
        if candidate.reason or not candidate.result:
            continue
        ndim = len(candidate.shape)
        given = next((d for p, d in layout.items() if naming.matches(p, candidate.names)), None)
        if given is not None and len(given) == ndim:
            candidate.dims = tuple(given)
        elif given is not None and candidate in chosen:
            raise ArgumentError(
                f"layout={tuple(given)} for layer {candidate.name!r} has {len(given)} dims, and "
                f"its shape without the batch is {candidate.shape}; give {ndim} names"
            )
        else:
            _infer(candidate, seen)
        seen.pop(candidate.shape, None)  # To be the last one.
        seen[candidate.shape] = candidate.dims


def _infer(candidate: _Candidate, seen: Mapping[tuple[int, ...], tuple[str, ...]]) -> None:
    module, shape = candidate.node.module if candidate.node else None, candidate.shape
    plain, dims = naming.plain_dims(len(shape)), naming.module_dims(module, len(shape))
    second = dims is not None and not candidate.first
    dims = plain if candidate.reshaped or second else dims or seen.get(shape)
    if dims is None and candidate.alone and naming.may_be_map(module):
        dims = naming.map_dims(shape, seen)
    candidate.dims = dims or plain
    candidate.unknown = len(shape) > 1 and candidate.dims == plain and not second


def _site(candidate: _Candidate, options: Options) -> Site:
    result = candidate.result
    assert result is not None
    shape, dims, dtype = candidate.shape, candidate.dims, result.dtype
    space: tuple[int, ...] = ()
    if options.activations == "pooled":
        space = tuple(i + 1 for i, dim in enumerate(dims) if dim in _SPACE)
    if space:
        kept = [i for i, dim in enumerate(dims) if dim not in _SPACE]
        shape, dims = tuple(shape[i] for i in kept), tuple(dims[i] for i in kept)
        dtype = torch.float64 if dtype == torch.float64 else torch.float32
    layer = Layer(candidate.name, shape, dims, dtype, candidate.kind)
    return Site(layer, candidate.shape, result.dtype, candidate.axis, space)
