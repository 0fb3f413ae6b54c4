"""Neural differential equations: their solution, and agents made of them.

diffrax is imported when an equation is first solved, not before.
"""

from lerax_fx.nde.agents import (
    CDEActorCritic,
    CDEMemory,
    CDENetwork,
    ODEActorCritic,
    cde_actor_critic,
    linear_cde_actor_critic,
    ode_actor_critic,
)
from lerax_fx.nde.dynamics import Dynamics, Predicted, RewardFunction
from lerax_fx.nde.equations import CDE, ODE, SDE
from lerax_fx.nde.linear_cde import LinearCDE, LinearCDEActorCritic, LinearCDELayer, LinearCDEMemory
from lerax_fx.nde.observations import Scaling, box_scaling, split_time
from lerax_fx.nde.solve import Intervals, NDESolution, nde_solve

__all__ = [
    "CDE",
    "ODE",
    "SDE",
    "CDEActorCritic",
    "CDEMemory",
    "CDENetwork",
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
