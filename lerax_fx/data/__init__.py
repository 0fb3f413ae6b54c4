"""The types of data that stages hand on."""

from lerax_fx.data.distribution_targets import DistributionTargets
from lerax_fx.data.estimates import Estimates
from lerax_fx.data.rollout import Rollout
from lerax_fx.data.targets import Targets
from lerax_fx.data.timed import Timed
from lerax_fx.data.transitions import Transitions

__all__ = [
    "DistributionTargets",
    "Estimates",
    "Rollout",
    "Targets",
    "Timed",
    "Transitions",
]
