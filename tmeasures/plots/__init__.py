"""Pictures of results, each a `matplotlib.figure.Figure` of its own: no pyplot, no global state."""

from tmeasures.plots.colours import COLOURS
from tmeasures.plots.features import features
from tmeasures.plots.heatmap import common_limit, heatmap
from tmeasures.plots.histograms import histograms
from tmeasures.plots.lines import lines
from tmeasures.plots.maps import maps
from tmeasures.plots.samples import samples
from tmeasures.plots.scatter import scatter

__all__ = [
    "COLOURS",
    "common_limit",
    "features",
    "heatmap",
    "histograms",
    "lines",
    "maps",
    "samples",
    "scatter",
]
