"""Neural differential equations, and agents made of them."""

from lerax_fx.nde.linear_cde import LinearCDE
from lerax_fx.nde.linear_cde_actor_critic import (
    LinearCDEActorCritic,
    LinearCDELayer,
    LinearCDEMemory,
    linear_cde_actor_critic,
)

__all__ = [
    "LinearCDE",
    "LinearCDEActorCritic",
    "LinearCDELayer",
    "LinearCDEMemory",
    "linear_cde_actor_critic",
]
