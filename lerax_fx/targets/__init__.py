"""What values should be, by networks that lag behind."""

from lerax_fx.targets.deterministic_target import DeterministicTarget, deterministic_target
from lerax_fx.targets.distributional_td_target import (
    DistributionalTDTarget,
    distributional_td_target,
)
from lerax_fx.targets.network import AbstractTargetUpdate, periodic, polyak
from lerax_fx.targets.soft_target import SoftTarget, soft_target
from lerax_fx.targets.td_target import TDTarget, td_target

__all__ = [
    "AbstractTargetUpdate",
    "DeterministicTarget",
    "DistributionalTDTarget",
    "SoftTarget",
    "TDTarget",
    "deterministic_target",
    "distributional_td_target",
    "periodic",
    "polyak",
    "soft_target",
    "td_target",
]
