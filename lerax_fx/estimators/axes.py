"""What the estimators share: they are written for one trajectory, in the terms of rlax."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lerax_fx._core.trajectories import check_whole_trajectories
from lerax_fx.data.durations import discounts
from lerax_fx.data.rollout import Rollout

T = TypeVar("T")


def over_trajectories(where: str, estimate: Callable[..., T], rollout: Rollout, *more: Array) -> T:
    """`estimate`, written for one trajectory, over all the batch axes of a rollout.

    **Raises:** `WiringError`, of the stage `where`, if trajectories were cut into steps.
    """
    check_whole_trajectories(where)
    for _ in range(rollout.reward.ndim - 1):
        estimate = jax.vmap(estimate)
    return estimate(rollout, *more)


def cut_at_ends(
    trajectory: Rollout, discount: ScalarLike
) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
    """Rewards and discounts in which every end of a trajectory is one that rlax knows.

    rlax knows one kind of end, a discount of 0, and takes the next row's value as what
    follows a step. Where an episode ends, and at the last row, the next row is no
    successor: the discount becomes 0 there, and what follows (the bootstrapped value,
    unless the step terminated) is part of the reward.

    Where observations are [`Timed`][lerax_fx.Timed], a step of length `dt` is discounted by
    `discount ** dt`.
    """
    last_row = jnp.arange(trajectory.reward.shape[0]) == trajectory.reward.shape[0] - 1
    cut = trajectory.done | last_row
    onwards = discounts(trajectory, discount)
    bootstrap = jnp.where(trajectory.terminated, 0.0, onwards * trajectory.next_value)
    reward = trajectory.reward + jnp.where(cut, bootstrap, 0.0)
    return reward, jnp.where(cut, 0.0, onwards)
