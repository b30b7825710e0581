"""Pictures of results, each a `matplotlib.figure.Figure` of its own: no pyplot, no global state."""

from tmeasures.plots.heatmap import COLOURS, common_limit, heatmap

__all__ = ["COLOURS", "common_limit", "heatmap"]
