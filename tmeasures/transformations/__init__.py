"""Sets of transformations that apply themselves to a batch at once, with inverses and masks."""

from tmeasures.transformations.affine import AffineSet, AffineTransformation
from tmeasures.transformations.base import Transformation, TransformationSet
from tmeasures.transformations.callables import transformations
from tmeasures.transformations.geometry import combined, flips, rotations, scalings, translations
from tmeasures.transformations.identities import identity
from tmeasures.transformations.sampling import warp

__all__ = [
    "AffineSet",
    "AffineTransformation",
    "Transformation",
    "TransformationSet",
    "combined",
    "flips",
    "identity",
    "rotations",
    "scalings",
    "transformations",
    "translations",
    "warp",
]
