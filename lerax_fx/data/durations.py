"""How long the steps of a trajectory took, and what is discounted for it."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lerax_fx.data.rollout import Rollout
from lerax_fx.data.timed import Timed
from lerax_fx.data.transitions import Transitions


def durations(trajectories: Rollout | Transitions) -> Float[Array, "*batch time"] | None:
    """How much time each step took: the `dt` of the observation that it led to. None where
    observations are not [`Timed`][lerax_fx.Timed], and every step takes as long as the next.
    """
    following = trajectories.next_observation
    return following.dt if isinstance(following, Timed) else None


def discounts(trajectories: Rollout | Transitions, discount: ScalarLike) -> Any:
    """What is left of a value that follows a step: `discount ** dt` of each, `(*batch, time)`.

    Where no time is told, that is `discount` itself, untouched: the program stays as it was.
    """
    dt = durations(trajectories)
    return discount if dt is None else jnp.asarray(discount) ** dt
