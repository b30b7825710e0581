"""Measure how every activation of a neural network reacts to transformations of its input.

- `measure` a network; `explain` how that would go; list its `layers`; `walk` the activations.
- `save` and `open` results; `summary`, `channels`, `stratum` and `to_frame` reduce and reshape
  them.
- Sets of transformations, their products, and `transformations` of any functions:
  - images: `rotations`, `scalings`, `translations`, `flips`, `combined`, `zooms`,
    `horizontal_scalings`, `vertical_scalings`, `shears`; `brightness`, `contrast`, `grayscale`,
    `gaussian_blur`, `gaussian_noise`;
  - series: `time_shifts`, `time_stretches`, `gains`, `signal_noise`;
  - vectors and sequences: `permutations`, `sign_flips`, `circular_shifts`; anything: `identity`.
- `plots` draws results, samples and feature maps.
"""

from tmeasures import plots
from tmeasures.allocator import tune_allocator
from tmeasures.capture import Layer
from tmeasures.errors import (
    ArgumentError,
    MemoryLimitError,
    ModelError,
    ResultError,
    SampleError,
    TMeasuresError,
    TMeasuresWarning,
    TransformationError,
)
from tmeasures.fields import Field
from tmeasures.frames import to_frame
from tmeasures.measures import Measure, Quantities
from tmeasures.measures.anova import Anova
from tmeasures.measures.distance_same_equivariance import DistanceSameEquivariance
from tmeasures.measures.goodfellow import Goodfellow
from tmeasures.measures.normalized_distance import NormalizedDistance
from tmeasures.measures.normalized_variance import NormalizedVariance
from tmeasures.measures.sample_distance import SampleDistance
from tmeasures.measures.sample_variance import SampleVariance
from tmeasures.measures.simple_same_equivariance import SimpleSameEquivariance
from tmeasures.measures.transformation_distance import TransformationDistance
from tmeasures.measures.transformation_variance import TransformationVariance
from tmeasures.measures.variance_same_equivariance import VarianceSameEquivariance
from tmeasures.plan import Plan
from tmeasures.results import open, save
from tmeasures.run import explain, layers, measure, walk
from tmeasures.summaries import summary
from tmeasures.tile import Tile
from tmeasures.transformations import (
    Transformation,
    TransformationSet,
    brightness,
    circular_shifts,
    combined,
    contrast,
    flips,
    gains,
    gaussian_blur,
    gaussian_noise,
    grayscale,
    horizontal_scalings,
    identity,
    permutations,
    rotations,
    scalings,
    shears,
    sign_flips,
    signal_noise,
    time_shifts,
    time_stretches,
    transformations,
    translations,
    vertical_scalings,
    warp,
    zooms,
)
from tmeasures.views import channels, stratum

__all__ = [
    "Anova",
    "ArgumentError",
    "DistanceSameEquivariance",
    "Field",
    "Goodfellow",
    "Layer",
    "Measure",
    "MemoryLimitError",
    "ModelError",
    "NormalizedDistance",
    "NormalizedVariance",
    "Plan",
    "Quantities",
    "ResultError",
    "SampleDistance",
    "SampleError",
    "SampleVariance",
    "SimpleSameEquivariance",
    "TMeasuresError",
    "TMeasuresWarning",
    "Tile",
    "Transformation",
    "TransformationDistance",
    "TransformationError",
    "TransformationSet",
    "TransformationVariance",
    "VarianceSameEquivariance",
    "brightness",
    "channels",
    "circular_shifts",
    "combined",
    "contrast",
    "explain",
    "flips",
    "gains",
    "gaussian_blur",
    "gaussian_noise",
    "grayscale",
    "horizontal_scalings",
    "identity",
    "layers",
    "measure",
    "open",
    "permutations",
    "plots",
    "rotations",
    "save",
    "scalings",
    "shears",
    "sign_flips",
    "signal_noise",
    "stratum",
    "summary",
    "time_shifts",
    "time_stretches",
    "to_frame",
    "transformations",
    "translations",
    "tune_allocator",
    "vertical_scalings",
    "walk",
    "warp",
    "zooms",
]
