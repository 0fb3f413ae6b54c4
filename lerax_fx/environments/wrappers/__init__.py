"""Environments around environments, one to a file."""

from lerax_fx.environments.wrappers.clip_action import ClipAction
from lerax_fx.environments.wrappers.flatten_observation import FlattenObservation
from lerax_fx.environments.wrappers.hide_velocities import hide_velocities
from lerax_fx.environments.wrappers.irregular_time import IrregularTime
from lerax_fx.environments.wrappers.normalize_observation import NormalizeObservation
from lerax_fx.environments.wrappers.normalize_reward import NormalizeReward
from lerax_fx.environments.wrappers.rescale_action import RescaleAction
from lerax_fx.environments.wrappers.select_observation import SelectObservation
from lerax_fx.environments.wrappers.time_limit import TimeLimit
from lerax_fx.environments.wrappers.wrapper import AbstractWrapper, WrapperState, frozen

__all__ = [
    "AbstractWrapper",
    "ClipAction",
    "FlattenObservation",
    "IrregularTime",
    "NormalizeObservation",
    "NormalizeReward",
    "RescaleAction",
    "SelectObservation",
    "TimeLimit",
    "WrapperState",
    "frozen",
    "hide_velocities",
]
