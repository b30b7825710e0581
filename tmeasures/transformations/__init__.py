"""Sets of transformations that apply themselves to a batch at once, with inverses and masks."""

from tmeasures.transformations.affine import AffineSet, AffineTransformation
from tmeasures.transformations.base import Transformation, TransformationSet
from tmeasures.transformations.callables import transformations
from tmeasures.transformations.geometry import (
    combined,
    flips,
    horizontal_scalings,
    rotations,
    scalings,
    shears,
    translations,
    vertical_scalings,
    zooms,
)
from tmeasures.transformations.identities import identity
from tmeasures.transformations.photometric import (
    brightness,
    contrast,
    gaussian_blur,
    gaussian_noise,
    grayscale,
)
from tmeasures.transformations.sampling import warp
from tmeasures.transformations.series import gains, signal_noise, time_shifts, time_stretches
from tmeasures.transformations.vectors import circular_shifts, permutations, sign_flips

__all__ = [
    "AffineSet",
    "AffineTransformation",
    "Transformation",
    "TransformationSet",
    "brightness",
    "circular_shifts",
    "combined",
    "contrast",
    "flips",
    "gains",
    "gaussian_blur",
    "gaussian_noise",
    "grayscale",
    "horizontal_scalings",
    "identity",
    "permutations",
    "rotations",
    "scalings",
    "shears",
    "sign_flips",
    "signal_noise",
    "time_shifts",
    "time_stretches",
    "transformations",
    "translations",
    "vertical_scalings",
    "warp",
    "zooms",
]
