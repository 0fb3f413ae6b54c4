"""Neural differential equations."""

from lerax_fx.nde.dynamics import Dynamics, Predicted, RewardFunction
from lerax_fx.nde.scaling import Scaling, box_scaling

__all__ = ["Dynamics", "Predicted", "RewardFunction", "Scaling", "box_scaling"]
