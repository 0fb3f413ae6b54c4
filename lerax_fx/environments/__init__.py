"""Environments: what one is, how to make one, and wrappers around them."""

from typing import TYPE_CHECKING, Any

from lerax_fx.environments.env import ENVIRONMENT_AXIS, Env, Timestep
from lerax_fx.environments.make import make
from lerax_fx.environments.running_statistics import RunningStatistics
from lerax_fx.environments.spaces import (
    Box,
    Dict,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Space,
    Tuple,
)
from lerax_fx.environments.timed_space import TimedSpace
from lerax_fx.environments.validate import check_env
from lerax_fx.environments.wrappers import (
    AbstractWrapper,
    ClipAction,
    FlattenObservation,
    IrregularTime,
    NormalizeObservation,
    NormalizeReward,
    RescaleAction,
    SelectObservation,
    TimeLimit,
    WrapperState,
    frozen,
    hide_velocities,
)

if TYPE_CHECKING:
    from lerax_fx.environments.gymnax import GymnaxEnv, GymnaxState

__all__ = [
    "ENVIRONMENT_AXIS",
    "AbstractWrapper",
    "Box",
    "ClipAction",
    "Dict",
    "Discrete",
    "Env",
    "FlattenObservation",
    "GymnaxEnv",
    "GymnaxState",
    "IrregularTime",
    "MultiBinary",
    "MultiDiscrete",
    "NormalizeObservation",
    "NormalizeReward",
    "RescaleAction",
    "RunningStatistics",
    "SelectObservation",
    "Space",
    "TimeLimit",
    "TimedSpace",
    "Timestep",
    "Tuple",
    "WrapperState",
    "check_env",
    "frozen",
    "hide_velocities",
    "make",
]


def __getattr__(name: str) -> Any:
    """Import gymnax when something of it is asked for, not before."""
    if name in ("GymnaxEnv", "GymnaxState"):
        from lerax_fx.environments import gymnax

        return getattr(gymnax, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
