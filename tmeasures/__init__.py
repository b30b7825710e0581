"""Measure how every activation of a neural network reacts to transformations of its input.

- `measure` a network; `explain` how that would go; list its `layers`; `walk` the activations.
- `save` and `open` results; `summary`, `channels`, `stratum` and `to_frame` reduce and reshape
  them.
- Sets of transformations: `rotations`, `scalings`, `translations`, `flips`, `combined`, `identity`,
  their products, and `transformations` of any functions.
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
from tmeasures.measures.goodfellow import Goodfellow
from tmeasures.measures.normalized_distance import NormalizedDistance
from tmeasures.measures.normalized_variance import NormalizedVariance
from tmeasures.measures.sample_distance import SampleDistance
from tmeasures.measures.sample_variance import SampleVariance
from tmeasures.measures.transformation_distance import TransformationDistance
from tmeasures.measures.transformation_variance import TransformationVariance
from tmeasures.plan import Plan
from tmeasures.results import open, save
from tmeasures.run import explain, layers, measure, walk
from tmeasures.summaries import summary
from tmeasures.tile import Tile
from tmeasures.transformations import (
    Transformation,
    TransformationSet,
    combined,
    flips,
    identity,
    rotations,
    scalings,
    transformations,
    translations,
    warp,
)
from tmeasures.views import channels, stratum

__all__ = [
    "Anova",
    "ArgumentError",
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
    "TMeasuresError",
    "TMeasuresWarning",
    "Tile",
    "Transformation",
    "TransformationDistance",
    "TransformationError",
    "TransformationSet",
    "TransformationVariance",
    "channels",
    "combined",
    "explain",
    "flips",
    "identity",
    "layers",
    "measure",
    "open",
    "plots",
    "rotations",
    "save",
    "scalings",
    "stratum",
    "summary",
    "to_frame",
    "transformations",
    "translations",
    "tune_allocator",
    "walk",
    "warp",
]
