"""Targets of action values, from returns of every length."""

import jax.numpy as jnp
import rlax

from lerax_fx._core.lift import transform
from lerax_fx.data.rollout import Rollout
from lerax_fx.data.targets import Targets
from lerax_fx.estimators.axes import cut_at_ends, over_trajectories
from lerax_fx.types import Fraction


@transform
def q_lambda_returns(
    rollout: Rollout, *, discount: Fraction = 0.99, lambda_: Fraction = 0.95
) -> Targets:
    """Q(lambda) targets for the actions taken: a mean of the returns of every length, each
    bootstrapped from the best action's value, without a target network.

        target_t = reward_t
            + discount * ((1 - lambda_) * max_a Q(next_observation_t, a) + lambda_ * target_{t+1})

    Gallici et al. 2024, "Simplifying Deep Temporal Difference Learning", section 4; Peng &
    Williams 1996, "Incremental Multi-Step Q-Learning": the sum goes on past actions that
    were not the best. It is cut where an episode ends and at the last step, of which
    only the best value is left, of the observation before the reset; 0 if terminated.

    `max_a Q` is the rollout's `next_value`, so the agent's value has to be that of its best
    action, as for [`q_agent`][lerax_fx.q_agent] and [`gru_q_agent`][lerax_fx.gru_q_agent]. A
    rollout of `(environments, time)` gives targets of the same shape. For recurrent agents
    they hold the hidden state before each trajectory, and where episodes begin in it.

    **Arguments:**

    - `discount`: of a reward one step later, in [0, 1]; where observations are
      [`Timed`][lerax_fx.Timed], one unit of time later: `discount ** dt` for a step.
    - `lambda_`: 0 for one-step targets, 1 for whole returns, in [0, 1].
    """

    def targets(trajectory: Rollout):
        reward, discounts = cut_at_ends(trajectory, discount)
        weight = jnp.asarray(lambda_, reward.dtype)
        return rlax.lambda_returns(reward, discounts, trajectory.next_value, weight)

    target = over_trajectories("q_lambda_returns", targets, rollout)
    return Targets(
        rollout.observation,
        rollout.action,
        target,
        memory=rollout.memory,
        resets=rollout.resets,
    )
