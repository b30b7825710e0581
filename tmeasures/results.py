"""The result of a run: a labelled tree that any netCDF reader opens.

::

    /                        attributes only: sizes, seed, arguments, versions
    /summary                 one row per layer, see tmeasures.summary
    /transformations         names, and one variable per parameter
    /samples                 ids, labels
    /layers/<module path>    one variable per measure, (*leading, *unit), and status

Of a run by classes a measure ``V`` is the mean over them, ``V_strata`` the number of those where it
is finite. If each class was kept, ``V_by_stratum`` and ``status_by_stratum``, ``(stratum, *unit)``,
are what a run on that class alone would give; the coordinate ``stratum`` has the labels.

Attributes that netCDF cannot hold (mappings, lists, booleans, None) are JSON text; `attribute`
reads either. Layer names are torch's own; a slash, which a path cannot hold, is written ``%2F`` in
the name of the group, and the group's attribute ``layer`` keeps the name as it was.
"""

from __future__ import annotations

import json
import numbers
import os
import uuid
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tmeasures.errors import ResultError
from tmeasures.fields import STATUS, STATUS_BY_STRATUM, Field
from tmeasures.hints import called, near
from tmeasures.summaries import GROUPS, layers_of, summarise, summary

if TYPE_CHECKING:
    import xarray as xr

    from tmeasures.capture import Layer
    from tmeasures.transformations import TransformationSet

__all__ = ["FORMAT", "attribute", "build", "encode", "open", "save", "summary"]

FORMAT = 1
"""Version of the layout of a result; raised when an older reader would misread a newer file."""


def build(
    layers: Sequence[tuple[Layer, Mapping[str, Field]]],
    *,
    status: Mapping[str, np.ndarray],
    transformations: TransformationSet,
    ids: np.ndarray,
    labels: np.ndarray | None,
    attributes: Mapping[str, object],
    strata: np.ndarray | None = None,
    stratum_status: Mapping[str, np.ndarray] | None = None,
) -> xr.DataTree:
    """Put what was measured into a labelled tree.

    Values are float32 for networks of that or less precision, float64 for float64 networks, for
    p-values and where `Field.double` says so; also where a value would leave float32's normal range
    (about 1e-38 to 3e38: variances of a softmax do), since it would become 0, infinite or inexact.
    Counts are the smallest of uint16, int32 and int64 that holds them.

    Args:
        layers: Each layer with its fields by variable name, in forward order.
        status: Bits of `STATUS` for each unit, uint8, by name of layer.
        transformations: The set; its name, names and parameters are kept.
        ids: Of the samples, in the order they were visited.
        labels: Of the samples, or None.
        attributes: Of the root, any types.
        strata: Labels of the classes, where fields have the leading dim ``stratum``.
        stratum_status: Bits for each unit within each class, ``(stratum, *unit)``, by name of
            layer, where fields have that dim.

    Returns:
        The tree, its summary computed.

    Example:
        >>> from types import SimpleNamespace
        >>> import numpy as np
        >>> layer = SimpleNamespace(
        ...     name="fc", shape=(3,), dims=("unit",), dtype="float32", kind="Linear"
        ... )
        >>> angles = SimpleNamespace(name="r", names=["0"], parameters={"angle": np.zeros(1)})
        >>> field = Field(np.array([0.1, 0.2, 0.6]), "1", "normalized variance", "Quiroga 2020")
        >>> tree = build(
        ...     [(layer, {"NV": field})], status={"fc": np.zeros(3, np.uint8)},
        ...     transformations=angles, ids=np.arange(5), labels=None, attributes={"seed": 0},
        ... )
        >>> float(tree["summary"]["NV_median"].round(3).item())
        0.2
    """
    import xarray as xr

    data = {layer.name: _dataset(layer, fields, status[layer.name]) for layer, fields in layers}
    if strata is not None and stratum_status is not None:
        data = {name: _by_class(each, stratum_status[name], strata) for name, each in data.items()}
    named = {str(name): value for name, value in attributes.items()}
    groups = {
        "/": xr.Dataset(attrs={"format": FORMAT} | {k: encode(v) for k, v in named.items()}),
        "/summary": summarise(data),
        "/transformations": _transformations(transformations),
        "/samples": _samples(ids, labels),
        "/layers": xr.Dataset(),
    }
    groups |= {f"/layers/{name.replace('/', '%2F')}": values for name, values in data.items()}
    return xr.DataTree.from_dict(groups)


def attribute(tree: xr.DataTree, name: str) -> Any:
    """A root attribute as it was given to the run: JSON text is decoded.

    Args:
        tree: A result.
        name: Of the attribute.

    Returns:
        The value; sequences come back as lists.

    Raises:
        ResultError: No attribute has that name.
    """
    if name not in tree.attrs:
        there = ", ".join(map(str, tree.attrs))
        close = near(name, map(str, tree.attrs))
        raise ResultError(f"the result has no attribute {name!r}{close}: use one of {there}")
    value = tree.attrs[name]
    if not isinstance(value, str):
        return value.item() if isinstance(value, np.generic) else value
    return json.loads(value) if _is_json(value) else value


def save(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a result as netCDF-4, compressed.

    The tree goes to a temporary file in the same folder that then takes the place of ``path``, so
    that a file of that name is either the old one or the whole new one, also when the process dies.

    Args:
        tree: A result.
        path: Where to; a file there is replaced. The suffix is up to you, ``.nc`` is usual.

    Raises:
        ResultError: The tree is not a result, the folder does not exist, or writing failed; then
            no temporary file is left and an older file is as it was.

    Note:
        Deflate, level 1, with shuffled bytes: about 0.8 s per million activations with six
        variables. Higher levels are slower and save next to nothing on such numbers.

    Example:
        >>> import tempfile, torch, tmeasures as tm
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
        >>> tree = tm.measure(network, torch.rand(8, 1, 9, 9), tm.rotations(4), measures=["NV"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tm.save(tree, f"{folder}/rotation.nc")
        ...     tm.open(f"{folder}/rotation.nc").identical(tree)
        True
    """
    if isinstance(tree, str | os.PathLike):
        raise ResultError(f"the tree is the path {str(tree)!r}; give tree and path, in this order")
    layers_of(tree)
    target = Path(os.path.realpath(_path(path)))
    if not target.parent.is_dir():
        raise ResultError(
            f"cannot save to {os.fspath(path)!r}: there is no folder {str(target.parent)!r}, "
            "create it or name another"
        )
    if target.is_dir():
        raise ResultError(f"cannot save to {os.fspath(path)!r}: it is a folder, name a file")
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        tree.to_netcdf(temporary, engine="netcdf4", encoding=_compression(tree))
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:
        raise ResultError(
            f"cannot save to {os.fspath(path)!r}: {_reason(error)}; free the space or name another "
            "place"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def open(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a result that `save` wrote, all of it, and close the file.

    The tree is in memory, so the file can be replaced or removed at once. One that is larger than
    memory opens lazily with `xarray.open_datatree`, which reads these files as any netCDF-4.

    Args:
        path: The file.

    Returns:
        The tree, identical to the one that was saved.

    Raises:
        ResultError: There is no such file, it is not netCDF-4, truncated or damaged, not written
            by this library, or by a newer one whose layout this one does not know.

    Example:
        >>> import tempfile, torch, tmeasures as tm
        >>> tree = tm.measure(torch.nn.Linear(3, 2), torch.rand(8, 3), measures=["SV"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tm.save(tree, f"{folder}/samples.nc")
        ...     tm.open(f"{folder}/samples.nc")["layers/output/SV"].dims
        ('unit',)
    """
    import netCDF4
    import xarray as xr

    name = _path(path)
    if os.path.isdir(name):
        raise ResultError(f"{name!r} is a folder: name a file in it")
    if not os.path.isfile(name):
        folder, wanted = os.path.split(os.path.abspath(name))
        try:
            files = os.listdir(folder)
        except OSError:
            files = []
        where = "" if os.path.isabs(name) else f" in {os.getcwd()!r}"
        raise ResultError(f"there is no file {name!r}{where}{near(wanted, files)}: check the path")
    try:
        with netCDF4.Dataset(name) as file:
            version = file.__dict__.get("format")
            ours = set(GROUPS) <= set(file.groups)
        _check_format(name, version if ours else None)
        with xr.open_datatree(name, engine="netcdf4") as tree:
            loaded = {node.path: node.to_dataset(inherit=False).load() for node in tree.subtree}
    except ResultError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise ResultError(
            f"cannot read {name!r}: {_reason(error)}, so it is truncated, damaged or not a result "
            "at all; measure again or take another copy"
        ) from None
    return xr.DataTree.from_dict(loaded)


def _dataset(layer: Layer, fields: Mapping[str, Field], status: np.ndarray) -> xr.Dataset:
    import xarray as xr

    precision = str(layer.dtype).removeprefix("torch.")
    variables = {
        name: (
            (*field.leading, *(layer.dims if field.dims is None else field.dims)),
            _stored(field, precision == "float64"),
            {
                "units": field.units,
                "long_name": field.long_name,
                "references": field.references,
                "kind": field.kind,
                "rounding": field.rounding,
                **({"score": field.score} if field.score else {}),
                **field.attributes,
            },
        )
        for name, field in fields.items()
    }
    flags = {
        "units": "1",
        "long_name": "status of the unit",
        "references": "CF conventions, 3.5 flags",
        "flag_masks": np.array(list(STATUS.values()), np.uint8),
        "flag_meanings": " ".join(STATUS),
    }
    bits = np.asarray(status, np.uint8)
    attributes = {"layer": layer.name, "kind": layer.kind, "dtype": precision}
    return xr.Dataset(variables | {"status": (layer.dims, bits, flags)}, attrs=attributes)


def _by_class(data: xr.Dataset, status: np.ndarray, strata: np.ndarray) -> xr.Dataset:
    """A layer with the labels of the classes, and the status of its units within each."""
    whole = data["status"]
    flags = whole.attrs | {"long_name": "status of the unit within the class"}
    bits = (("stratum", *whole.dims), np.asarray(status, np.uint8), flags)
    return data.assign({STATUS_BY_STRATUM: bits}).assign_coords(stratum=_labels(strata))


def _stored(field: Field, double: bool) -> np.ndarray:
    values = np.asarray(field.values)
    if field.kind == "decision":
        return values.astype(bool)
    if field.kind == "count" and np.isfinite(values).all():
        ends = values.min(initial=0), values.max(initial=0)
        kinds = [np.iinfo(kind) for kind in (np.uint16, np.int32, np.int64)]
        return values.astype(next(k.dtype for k in kinds if k.min <= ends[0] <= ends[1] <= k.max))
    if not (double or field.double or field.kind == "p"):
        normal = np.finfo(np.float32)
        magnitude = np.abs(values[np.isfinite(values) & (values != 0)])
        if not magnitude.size or (normal.tiny <= magnitude.min() <= magnitude.max() <= normal.max):
            return values.astype(np.float32)
    return values.astype(np.float64)


def _transformations(transformations: TransformationSet) -> xr.Dataset:
    import xarray as xr

    parameters = {
        name: ("transformation", np.asarray(values))
        for name, values in transformations.parameters.items()
    }
    names = ("transformation", np.array(list(transformations.names), dtype=str))
    return xr.Dataset({"names": names} | parameters, attrs={"name": transformations.name})


def _samples(ids: np.ndarray, labels: np.ndarray | None) -> xr.Dataset:
    import xarray as xr

    variables: dict[Hashable, Any] = {"ids": ("sample", np.asarray(ids))}
    if labels is not None:
        values = _labels(labels)
        targets = [f"target_{axis}" for axis in range(1, values.ndim)]
        variables["labels"] = (("sample", *targets), values)
    return xr.Dataset(variables)


def _labels(labels: np.ndarray) -> np.ndarray:
    """Labels of a dtype that netCDF has."""
    values = np.asarray(labels)
    if values.dtype.kind == "O":
        return values.astype(str)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _compression(tree: xr.DataTree) -> dict[str, dict[Hashable, dict[str, Any]]]:
    deflate = {"zlib": True, "complevel": 1, "shuffle": True}
    return {
        node.path: {
            name: deflate
            for name, variable in node.to_dataset(inherit=False).variables.items()
            if variable.dtype.kind in "biuf" and variable.ndim
        }
        for node in tree.subtree
    }


def _path(path: Any) -> str:
    if not isinstance(path, str | os.PathLike):
        raise ResultError(f"the path is {called(path)}; give the name of a file, say 'rotation.nc'")
    return os.fspath(path)


def _check_format(name: str, version: Any) -> None:
    if not isinstance(version, int | np.integer):
        raise ResultError(
            f"{name!r} is a netCDF file but not a result of tmeasures: name a file that tm.save "
            "wrote"
        )
    if version > FORMAT:
        raise ResultError(
            f"{name!r} has the format {version} and this version of tmeasures reads up to "
            f"{FORMAT}: install a newer tmeasures"
        )


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].rstrip(". ")


def encode(value: object) -> str | int | float:
    """What netCDF can hold: text, int64, float64, or JSON text for the rest."""
    if isinstance(value, str) and not _is_json(value):
        return value
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        if -(2**63) <= int(value) < 2**63:
            return int(value)
        return str(int(value))
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    return json.dumps(value, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | set | frozenset):
        return list(value)
    return str(value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
