"""Callables of items that cannot be used: the errors that say so."""

import numpy as np
import pytest
from torch import nn
from torch.utils.data import DataLoader

import tmeasures as tm
from pictures import PIXELS, Pictures, grain, quarter
from reading import workers_warn
from tmeasures.samples import read


def boxed(image):
    return {"image": image, "boxes": [], "mask": image}


def in_place(image):
    image.putpixel((0, 0), (image.getpixel((0, 0)) + 1) % 256)
    return image


def fails(image):
    return image.rot(45)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (boxed, r"'boxed' returns a dict of image, boxes, mask, expected one image.*\['image'\]"),
        (lambda image: (image, [0, 0, 4, 4]), "'t0' returns a tuple, expected one image"),
        (lambda image: None, "'t0' returns None, expected one image"),
        (in_place, "'in_place' changes its input in place"),
        (grain, "'grain' gives two results for one input, expected one: pass random=True"),
        (fails, r"'fails' fails on sample \d, an image of Pillow, L \(8, 8\) \(AttributeError"),
    ],
)
@workers_warn
def test_callables_that_cannot_be_used_are_named(function, message):
    single = tm.transformations([function], on="item")
    for workers in (0, 1):
        with pytest.raises(tm.TransformationError, match=message) as caught:
            tm.explain(nn.Flatten(), DataLoader(Pictures(), num_workers=workers), single)
    notes = getattr(caught.value, "__notes__", [])
    assert (function is fails) == any("in fails" in note for note in notes)


def test_errors_later_on_name_the_sample():
    def late(image):
        if image.getpixel((0, 0)) == PIXELS[last][0, 0]:
            raise ValueError("too late")
        return image

    last = int(read(Pictures()).ids[-1])
    assert (PIXELS[:, 0, 0] == PIXELS[last, 0, 0]).sum() == 1
    single = tm.transformations([late], on="item")
    with pytest.raises(tm.TransformationError, match=rf"sample {last},.*too late") as caught:
        tm.measure(nn.Flatten(), Pictures(), single, measures="SV")
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("functions", "forms"),
    [
        ([quarter, lambda image: image.crop((0, 0, 8, 7))], ["(1, 8, 8) uint8", "(1, 7, 8) uint8"]),
        ([lambda image: image, lambda image: np.asarray(image)[None] / 255], ["uint8", "float64"]),
        ([tm.identity()[0], lambda image: image.convert("RGB")], ["untransformed", "(3, 8, 8)"]),
    ],
)
def test_all_of_a_set_give_one_form(functions, forms):
    with pytest.raises(tm.TransformationError, match="must agree") as caught:
        tm.explain(nn.Flatten(), Pictures(), tm.transformations(functions, on="item"))
    assert all(form in str(caught.value) for form in forms)


def test_a_sample_whose_forms_differ_is_named():
    def cropped(image):
        return image.crop((0, 0, 8, 4)) if image.getpixel((0, 0)) == PIXELS[last][0, 0] else image

    last = int(read(Pictures()).ids[-1])
    both = tm.transformations([quarter, cropped], on="item")
    with pytest.raises(tm.SampleError, match=rf"samples {last} have unequal shapes"):
        [*tm.walk(nn.Flatten(), Pictures(), both, batch_size=2)]


def test_untransformed_inputs_of_another_form_are_refused():
    smaller = tm.transformations([lambda image: image.crop((0, 0, 6, 6))] * 2, on="item")
    floats = tm.transformations([lambda image: np.float32(image)[None]] * 2, on="item")
    for each, form in ((smaller, r"\(1, 6, 6\)"), (floats, r"\(1, 8, 8\)")):
        with pytest.raises(
            tm.ArgumentError, match=rf"uint8 .* ones float32 .*{form}.*leave GF out"
        ):
            tm.explain(nn.Flatten(), Pictures(), each, measures="GF")
