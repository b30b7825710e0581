"""Makes plans: what measures want, the ways to have it, their bytes, the choice, and why."""

from tmeasures.planning.choice import check, choose
from tmeasures.planning.problem import Problem
from tmeasures.planning.tiles import tile_shape
from tmeasures.planning.ways import Wanted

__all__ = ["Problem", "Wanted", "check", "choose", "tile_shape"]
