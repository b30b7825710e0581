"""The figure that all pictures are."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure

from tmeasures.plots.common import own_style


class Picture(Figure):
    """A figure that looks alike wherever it is drawn or saved.

    Notebooks show it also where pyplot was not imported, which they do not with others.
    """

    # Matplotlib makes ticks and looks up fonts only when it draws.
    def draw(self, renderer: RendererBase) -> None:
        """As every figure, in the style of the pictures."""
        with own_style():
            super().draw(renderer)

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """As every figure, in the style of the pictures."""
        with own_style():
            super().savefig(*args, **kwargs)

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()
