"""Memory of steps, and learning from it."""

from lerax_fx.replay.burn_in import BurnIn, burn_in
from lerax_fx.replay.prioritized import Prioritized, prioritized
from lerax_fx.replay.replay import Replay, ReplayState, replay
from lerax_fx.replay.ring import Ring
from lerax_fx.replay.sampling import AbstractSampling
from lerax_fx.replay.sum_tree import SumTree
from lerax_fx.replay.uniform import uniform

__all__ = [
    "AbstractSampling",
    "BurnIn",
    "Prioritized",
    "Replay",
    "ReplayState",
    "Ring",
    "SumTree",
    "burn_in",
    "prioritized",
    "replay",
    "uniform",
]
