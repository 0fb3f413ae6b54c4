"""V-trace: returns corrected for the age of the policy that acted."""

from typing import Any

import jax.numpy as jnp
import rlax

from lerax_fx._core.lift import transform
from lerax_fx.data.estimates import Estimates
from lerax_fx.data.rollout import Rollout
from lerax_fx.estimators.axes import cut_at_ends, over_trajectories
from lerax_fx.losses.forward import forward_rollout
from lerax_fx.types import Fraction, Key, Positive


@transform
def vtrace(
    agent: Any,
    rollout: Rollout,
    key: Key,
    *,
    discount: Fraction = 0.99,
    lambda_: Fraction = 1.0,
    clip_rho: Positive = 1.0,
    clip_policy_rho: Positive = 1.0,
) -> Estimates:
    """Estimate values and advantages under the agent as it is now.

    Espeholt et al. 2018 (IMPALA), eq. 1 and section 4.2: temporal differences weighted by
    `rho = min(clip_rho, ratio)` and `c = lambda_ * min(1, ratio)`, where `ratio` is the
    probability of the action now over that when it was taken. The values stay those that
    the rollout recorded; with an unchanged agent every ratio is 1, and the targets are
    n-step returns over the whole trajectory.

    **Arguments:**

    - `discount`, `lambda_`: in [0, 1]; where observations are [`Timed`][lerax_fx.Timed],
      `discount ** dt` is that of a step.
    - `clip_rho`: the largest weight of a temporal difference in the target.
    - `clip_policy_rho`: the largest weight of an advantage.
    """
    evaluation = forward_rollout("vtrace", agent, rollout, key)
    ratio = jnp.exp(evaluation.log_prob(rollout.action) - rollout.log_prob)

    def estimate(trajectory: Rollout, ratio: Any):
        reward, discounts = cut_at_ends(trajectory, discount)
        return rlax.vtrace_td_error_and_advantage(
            trajectory.value,
            trajectory.next_value,
            reward,
            discounts,
            ratio,
            lambda_=jnp.asarray(lambda_, ratio.dtype),
            clip_rho_threshold=clip_rho,
            clip_pg_rho_threshold=clip_policy_rho,
            stop_target_gradients=False,
        )

    output = over_trajectories("vtrace", estimate, rollout, ratio)
    return Estimates(rollout, output.pg_advantage, output.errors + rollout.value)
