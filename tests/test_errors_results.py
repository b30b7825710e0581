"""Errors read aloud: mistakes about results, and warnings."""

from pathlib import Path

import pytest
import torch
import xarray
from torch import nn

import tmeasures as tm
from mistakes import ARG, NETWORK, RESULT, WARNING, assert_answered, later, opened, plan, tree
from small_models import Model
from tmeasures.results import attribute

# What a user does: the kind of error, what its sentence must hold, and how it is done.
# fmt: off
MISTAKES = {
    # Results
    "save without a result": (RESULT, "a dict", "give the tree",
        lambda: tm.save({}, "a.nc")),
    "save with its arguments in the wrong order": (RESULT, "'a.nc'", "in this order",
        lambda: tm.save("a.nc", tree())),
    "save to None": (RESULT, "None", "give the name",
        lambda: tm.save(tree(), None)),
    "save to a folder": (RESULT, "'/'", "name a file",
        lambda: tm.save(tree(), "/")),
    "save to a folder that is missing": (RESULT, "no folder", "create it",
        lambda: tm.save(tree(), "missing/a.nc")),
    "open a file that is missing": (RESULT, "'missing.nc'", "check the path",
        lambda: tm.open("missing.nc")),
    "open a folder": (RESULT, "'/'", "name a file",
        lambda: tm.open("/")),
    "open None": (RESULT, "None", "give the name",
        lambda: tm.open(None)),
    "open a result": (RESULT, "DataTree", "give the name",
        lambda: tm.open(tree())),
    "open a file of something else": (RESULT, "cannot read", "take another copy",
        lambda: tm.open(__file__)),
    "open a netCDF file of something else": (RESULT, "not a result", "name a file",
        lambda: opened(xarray.DataTree())),
    "open a result of a later version": (RESULT, "format 99", "install a newer",
        lambda: opened(later())),
    "an attribute that is not there": (RESULT, "'sead'", "did you mean 'seed'",
        lambda: attribute(tree(), "sead")),
    "rows by sample": (ARG, "'sample'", "use 'unit'",
        lambda: tm.to_frame(tree(), by="sample")),
    "the summary of None": (RESULT, "None", "give the tree",
        lambda: tm.summary(None)),
    "the summary of a path": (RESULT, "'a.nc'", "open it first",
        lambda: tm.summary("a.nc")),
    "the channels of a path": (RESULT, "'a.nc'", "open it first",
        lambda: tm.channels(Path("a.nc"))),
    "the summary of a part of a result": (RESULT, "lacks /summary", "give what",
        lambda: tm.summary(tree()["layers"])),
    "channels(tree, 'median')": (ARG, "'median'", "give 'mean'",
        lambda: tm.channels(tree(), "median")),
    "a ratio without TV": (RESULT, "no TV", "measure with",
        lambda: tm.channels(tree(), "ratio")),
    # Warnings
    "inputs that are NaN": (WARNING, "NaN", "tm.summary",
        lambda: tm.measure(nn.Linear(2, 2), torch.full((6, 2), torch.nan), measures="SV")),
    "a normalisation by batch": (WARNING, "'0'", "track_running_stats=True",
        lambda: plan(nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False)))),
    "a compiled network": (WARNING, "torch.compile", "pass",
        lambda: plan(Model(None, _orig_mod=NETWORK))),
}
# fmt: on


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_answered_by_one_sentence(mistake):
    *expected, make = MISTAKES[mistake]
    assert_answered(*expected, make=make)
