"""Normalisation of inputs by --mean and --std."""

import warnings

import pytest
import torch

from tmeasures.cli.normalising import Normalisation
from tmeasures.errors import ArgumentError, TMeasuresWarning


@pytest.mark.parametrize("space", [(), (4,), (4, 5), (2, 4, 5)])
def test_normalisation_by_channel(space):
    x = torch.rand(6, 3, *space, dtype=torch.float64)
    found = Normalisation("0.485,0.25, 0", "1,.5,2")(x)
    for channel, (mean, std) in enumerate([(0.485, 1), (0.25, 0.5), (0, 2)]):
        torch.testing.assert_close(
            found[:, channel], (x[:, channel] - mean) / std, rtol=0, atol=1e-15
        )
    assert found.dtype == torch.float64


def test_normalisation_by_one_number():
    x = torch.rand(6, 3, 4)
    torch.testing.assert_close(Normalisation(".5", "2")(x), (x - 0.5) / 2)
    mixed = Normalisation("0.5", "1,2,4")(x)
    torch.testing.assert_close(mixed[:, 2], (x[:, 2] - 0.5) / 4)
    mixed = Normalisation("1,.2,.4", "2")(x)
    torch.testing.assert_close(mixed[:, 1], (x[:, 1] - 0.2) / 2)
    assert Normalisation(".5", "2")(torch.tensor([1, 2])).tolist() == [0.25, 0.75]


def test_normalisation_reads_as_given():
    assert repr(Normalisation("0.485,.456,4e-1", "1")) == "--mean 0.485,.456,4e-1 --std 1"


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ("a", "1", "--mean 'a' is not one or more finite numbers"),
        ("", "1", "--mean '' is not"),
        ("1,,2", "1", "--mean '1,,2' is not"),
        ("1 2 3", "1", "--mean '1 2 3' is not .* commas between"),
        ("0", "nan", "--std 'nan' is not"),
        ("inf", "1", "--mean 'inf' is not"),
        ("0", "0", "--std '0' is not positive"),
        ("0,0", "1,-1", "--std '1,-1' is not positive"),
        ("0,0,0", "1,1", "--mean has 3 numbers and --std 2; give as many of each"),
    ],
)
def test_normalisations_that_are_none(mean, std, message):
    with pytest.raises(ArgumentError, match=message):
        Normalisation(mean, std)


@pytest.mark.parametrize("shape", [(6, 1, 4, 4), (6, 4, 4), (6,)])
def test_normalisation_of_other_channels(shape):
    with pytest.raises(ArgumentError, match="are for 3 channels, and inputs have shape"):
        Normalisation("0", "1,1,1")(torch.zeros(shape))


def test_means_of_bytes_for_inputs_up_to_one():
    bytes_mean = Normalisation("123.7,116.3,103.5", "58,57,57")
    with pytest.warns(TMeasuresWarning, match="divide mean and std by 255 too"):
        bytes_mean(torch.rand(2, 3, 4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bytes_mean(torch.rand(2, 3, 4, 4))  # said once
        Normalisation("123,116,103", "58")(255 * torch.ones(2, 3, 4, 4))
        Normalisation("0.5", "0.2")(torch.rand(2, 3, 4, 4))
