"""Kernels run all their tasks, on any number of threads, and say when one was not done."""

import sys

import numba
import numpy as np
import pytest
import torch

from tmeasures.kernels.tasks import DONE, Kernel, call


@Kernel
def _add(number, x, several, to):
    (first, second), third = several
    to[number] += x[number] * (10.0 if first else 0.0) + second
    if third is not None:
        to[number] += 100.0
    return DONE


@Kernel
def _take(number, x, size):
    x[number] = np.empty(size).size
    return DONE


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("tasks", [0, 1, 2, 7, 1000])
def test_each_task_runs_once(threads, tasks):
    x, to = torch.arange(2.0**17), torch.zeros(2**17)
    call(_add, tasks, x, ((True, 3), None), to)
    expected = torch.where(torch.arange(len(x)) < tasks, 10 * x + 3, 0)
    assert torch.equal(to, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("third", [None, True])
def test_arguments_of_other_types_are_other_tasks(dtype, third):
    x, to = torch.arange(4.0, dtype=dtype), torch.zeros(4, dtype=dtype)
    call(_add, 4, x, ((False, 3), third), to)
    assert to.tolist() == [103.0 if third else 3.0] * 4


def test_parts_of_arrays_are_other_tasks_than_whole_ones():
    x, to = torch.arange(8.0), torch.zeros(8)
    call(_add, 4, x, ((True, 0), None), to)
    call(_add, 4, x[::2], ((True, 0), None), to)
    assert to.tolist() == [0, 30, 60, 90, 0, 0, 0, 0]


def test_arrays_are_counted_as_before():
    x, to = torch.arange(4.0).numpy(), torch.zeros(4).numpy()
    before = sys.getrefcount(x), sys.getrefcount(to)
    for _ in range(3):
        call(_add, 4, torch.from_numpy(x), ((True, 0), None), torch.from_numpy(to))
    assert (sys.getrefcount(x), sys.getrefcount(to)) == before


def test_a_task_without_room_is_an_error(threads, monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    x = torch.zeros(2**17)
    with pytest.raises(MemoryError, match=r"^5 of 5 tasks of a kernel were not done.*batch_size"):
        call(_take, 5, x, 2**62)
    assert len(told) == 5
    call(_take, 5, x, 2)
    assert x[:6].tolist() == [2, 2, 2, 2, 2, 0]


def test_numbers_of_threads_are_left_as_they_were(threads):
    before = numba.get_num_threads()
    call(_add, 3, torch.zeros(2**17), ((True, 1), None), torch.zeros(2**17))
    assert (torch.get_num_threads(), numba.get_num_threads()) == (threads, before)
