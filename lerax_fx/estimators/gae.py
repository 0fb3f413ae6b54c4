"""Generalised advantage estimation."""

import jax
import jax.numpy as jnp

from lerax_fx._core.lift import transform
from lerax_fx.data.estimates import Estimates
from lerax_fx.data.rollout import Rollout
from lerax_fx.estimators.axes import cut_at_ends, over_trajectories
from lerax_fx.types import Fraction, Scalar


@transform
def gae(rollout: Rollout, *, discount: Fraction = 0.99, lambda_: Fraction = 0.95) -> Estimates:
    """Estimate advantages as exponentially weighted sums of temporal differences.

    Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage
    Estimation", eq. 16, over a trajectory that may hold ends of episodes:

        delta_t = reward_t + discount * (1 - terminated_t) * next_value_t - value_t
        advantage_t = delta_t + discount * lambda_ * (1 - done_t) * advantage_{t+1}

    with `done = terminated | truncated`: truncation cuts the sum but is bootstrapped
    across, termination is not. `target = advantage + value`, the TD(lambda) return.

    **Arguments:**

    - `discount`: of a reward one step later, in [0, 1]; where observations are
      [`Timed`][lerax_fx.Timed], one unit of time later: `discount ** dt` for a step.
    - `lambda_`: 0 for one-step differences, 1 for whole returns, in [0, 1]; of a step,
      however long it took.
    """

    def advantages(trajectory: Rollout):
        reward, discounts = cut_at_ends(trajectory, discount)
        following = jnp.append(trajectory.value[1:], 0.0)
        delta = reward + discounts * following - trajectory.value
        decay = discounts * jnp.asarray(lambda_, reward.dtype)

        def add(total: Scalar, inputs: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
            delta, decay = inputs
            total = delta + decay * total
            return total, total

        # Not rlax's, whose scan begins with a plain 0.0: under jax.shard_map, the sum has to
        # vary over devices from the beginning.
        return jax.lax.scan(add, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)[1]

    advantage = over_trajectories("gae", advantages, rollout)
    return Estimates(rollout, advantage, advantage + rollout.value)
