"""Environments around environments, one to a file."""

from lerax_fx.environments.wrappers.clip_action import ClipAction
from lerax_fx.environments.wrappers.flatten_observation import FlattenObservation
from lerax_fx.environments.wrappers.normalize_observation import NormalizeObservation
from lerax_fx.environments.wrappers.normalize_reward import NormalizeReward
from lerax_fx.environments.wrappers.rescale_action import RescaleAction
from lerax_fx.environments.wrappers.time_limit import TimeLimit
from lerax_fx.environments.wrappers.wrapper import AbstractWrapper, WrapperState, frozen

__all__ = [
    "AbstractWrapper",
    "ClipAction",
    "FlattenObservation",
    "NormalizeObservation",
    "NormalizeReward",
    "RescaleAction",
    "TimeLimit",
    "WrapperState",
    "frozen",
]
