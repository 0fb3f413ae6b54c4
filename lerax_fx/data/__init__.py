"""The types of data that stages hand on."""

from lerax_fx.data.estimates import Estimates
from lerax_fx.data.rollout import Rollout

__all__ = ["Estimates", "Rollout"]
