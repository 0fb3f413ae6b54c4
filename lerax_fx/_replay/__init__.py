"""Experience replay: the stage, the buffer, and sampling from it."""

from lerax_fx._replay.buffer import RingBuffer
from lerax_fx._replay.sampling import AbstractSampling, Prioritized, SumTree, prioritized, uniform
from lerax_fx._replay.stage import BurnIn, Replay, ReplayState, burn_in, replay

__all__ = [
    "AbstractSampling",
    "BurnIn",
    "Prioritized",
    "Replay",
    "ReplayState",
    "RingBuffer",
    "SumTree",
    "burn_in",
    "prioritized",
    "replay",
    "uniform",
]
