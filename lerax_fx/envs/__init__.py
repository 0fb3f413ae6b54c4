"""Environments: their interface, suites by name, and wrappers."""

from typing import TYPE_CHECKING, Any

from lerax_fx.envs.check import check_env
from lerax_fx.envs.env import ENVIRONMENT_AXIS, Env, Timestep
from lerax_fx.envs.irregular_time import IrregularTime
from lerax_fx.envs.normalization import NormalizeReward
from lerax_fx.envs.observations import FlattenObservation, SelectObservation, mask_velocities
from lerax_fx.envs.registry import make
from lerax_fx.envs.timed_space import TimedSpace
from lerax_fx.envs.wrappers import (
    AbstractWrapper,
    ClipAction,
    RescaleAction,
    TimeLimit,
    WrapperState,
)

if TYPE_CHECKING:
    from lerax_fx.envs.gymnax import GymnaxEnv, GymnaxState

__all__ = [
    "ENVIRONMENT_AXIS",
    "AbstractWrapper",
    "ClipAction",
    "Env",
    "FlattenObservation",
    "GymnaxEnv",
    "GymnaxState",
    "IrregularTime",
    "NormalizeReward",
    "RescaleAction",
    "SelectObservation",
    "TimeLimit",
    "TimedSpace",
    "Timestep",
    "WrapperState",
    "check_env",
    "make",
    "mask_velocities",
]


def __getattr__(name: str) -> Any:
    """Import gymnax when something of it is asked for, not before."""
    if name in ("GymnaxEnv", "GymnaxState"):
        from lerax_fx.envs import gymnax

        return getattr(gymnax, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
