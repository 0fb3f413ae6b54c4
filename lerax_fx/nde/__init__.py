"""Neural differential equations: their solution, and agents made of them.

diffrax is imported when an equation is first solved, not before.
"""

from lerax_fx.nde.cde_actor_critic import CDEActorCritic, CDEMemory
from lerax_fx.nde.constructors import (
    cde_actor_critic,
    linear_cde_actor_critic,
    ode_actor_critic,
)
from lerax_fx.nde.dynamics import Dynamics, Predicted, RewardFunction
from lerax_fx.nde.equations import CDE, ODE, SDE
from lerax_fx.nde.linear_cde import LinearCDE
from lerax_fx.nde.linear_cde_actor_critic import (
    LinearCDEActorCritic,
    LinearCDELayer,
    LinearCDEMemory,
)
from lerax_fx.nde.ode_actor_critic import ODEActorCritic
from lerax_fx.nde.scaling import Scaling, box_scaling
from lerax_fx.nde.solve import NDESolution
from lerax_fx.nde.split_time import split_time
from lerax_fx.nde.stage import Intervals, nde_solve

__all__ = [
    "CDE",
    "ODE",
    "SDE",
    "CDEActorCritic",
    "CDEMemory",
    "Dynamics",
    "Intervals",
    "LinearCDE",
    "LinearCDEActorCritic",
    "LinearCDELayer",
    "LinearCDEMemory",
    "NDESolution",
    "ODEActorCritic",
    "Predicted",
    "RewardFunction",
    "Scaling",
    "box_scaling",
    "cde_actor_critic",
    "linear_cde_actor_critic",
    "nde_solve",
    "ode_actor_critic",
    "split_time",
]
