"""Advantage estimators: GAE, n-step returns, Q(lambda), V-trace."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float, ScalarLike

from lerax_fx._core.arguments import check_count
from lerax_fx._core.lift import transform
from lerax_fx.agents.protocols import check_pair
from lerax_fx.agents.unroll import agent_key, next_outputs, split_keys
from lerax_fx.data import Estimates, Rollout, Targets, discounts
from lerax_fx.errors import HyperparameterError, format_error
from lerax_fx.losses.on_policy import forward_rollout
from lerax_fx.stages.batches import check_whole_trajectories
from lerax_fx.typing import Fraction, Key, Positive, Scalar

T = TypeVar("T")


def vmap_trajectories(where: str, estimate: Callable[..., T], rollout: Rollout, *more: Array) -> T:
    """Vmap `estimate`, written for one trajectory, over all batch axes of a rollout.

    **Raises:** `WiringError`, of the stage `where`, if trajectories were cut into steps.
    """
    check_whole_trajectories(where)
    for _ in range(rollout.reward.ndim - 1):
        estimate = jax.vmap(estimate)
    return estimate(rollout, *more)


def rewards_and_discounts(
    trajectory: Rollout, discount: ScalarLike
) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
    """Rewards and discounts of a trajectory with episode boundaries, in the form that rlax takes.

    rlax knows one kind of end, a discount of 0, and takes the next row's value as what
    follows a step. Where an episode ends, and at the last row, the next row is no
    successor: the discount becomes 0 there, and what follows (the bootstrapped value,
    unless the step terminated) is part of the reward.

    Where observations are [`Timed`][lerax_fx.data.Timed], a step of length `dt` is discounted by
    `discount ** dt`.
    """
    last_row = jnp.arange(trajectory.reward.shape[0]) == trajectory.reward.shape[0] - 1
    cut = trajectory.done | last_row
    onwards = discounts(trajectory, discount)
    bootstrap = jnp.where(trajectory.terminated, 0.0, onwards * trajectory.next_value)
    reward = trajectory.reward + jnp.where(cut, bootstrap, 0.0)
    return reward, jnp.where(cut, 0.0, onwards)


def _discounted_sums(
    delta: Float[Array, " time"], decay: Float[Array, " time"]
) -> Float[Array, " time"]:
    """`sum_t = delta_t + decay_t * sum_{t+1}`, from the end on."""

    def add(total: Scalar, inputs: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        delta, decay = inputs
        total = delta + decay * total
        return total, total

    # Not rlax's, whose scan begins with a plain 0.0: under jax.shard_map, the sum has to vary
    # over devices from the beginning.
    return jax.lax.scan(add, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)[1]


@transform
def gae(rollout: Rollout, *, discount: Fraction = 0.99, lambda_: Fraction = 0.95) -> Estimates:
    """Generalised advantage estimation, GAE(lambda).

    Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage
    Estimation", eq. 16, over a trajectory that may hold ends of episodes:

        delta_t = reward_t + discount * (1 - terminated_t) * next_value_t - value_t
        advantage_t = delta_t + discount * lambda_ * (1 - done_t) * advantage_{t+1}

    with `done = terminated | truncated`: truncation cuts the sum but is bootstrapped
    across, termination is not. `target = advantage + value`, the TD(lambda) return.

    **Arguments:**

    - `discount`: of a reward one step later, in [0, 1]; where observations are
      [`Timed`][lerax_fx.data.Timed], one unit of time later: `discount ** dt` for a step.
    - `lambda_`: 0 for one-step differences, 1 for whole returns, in [0, 1]; of a step,
      however long it took.
    """

    def advantages(trajectory: Rollout):
        reward, discounts = rewards_and_discounts(trajectory, discount)
        following = jnp.append(trajectory.value[1:], 0.0)
        delta = reward + discounts * following - trajectory.value
        return _discounted_sums(delta, discounts * jnp.asarray(lambda_, reward.dtype))

    advantage = vmap_trajectories("gae", advantages, rollout)
    return Estimates(rollout, advantage, advantage + rollout.value)


@transform
def n_step_returns(rollout: Rollout, *, n: int | None = 5, discount: Fraction = 0.99) -> Estimates:
    """n-step returns and advantages.

    Sutton & Barto 2018, eq. 7.1; Mnih et al. 2016 (A3C), section 4:

        target_t = reward_t + discount * reward_{t+1} + ... + discount^n * value_{t+n}

    A window never crosses the end of an episode or of the trajectory: it stops there, and
    bootstraps from `next_value` unless the episode terminated.
    `advantage = target - value`.

    **Arguments:**

    - `n`: the most rewards in a window, at least 1 and at most the trajectory's length; None
      for that length, which gives the returns that A2C uses.
    - `discount`: of a reward one step later, in [0, 1]; where observations are
      [`Timed`][lerax_fx.data.Timed], one unit of time later: `discount ** dt` for a step.

    **Raises:** `HyperparameterError` if `n` is not an int of at least 1, or is larger than the
    trajectory's length.
    """
    check_whole_trajectories("n_step_returns")
    length = rollout.reward.shape[-1]
    steps = length if n is None else check_count("n_step_returns: n", n)
    if steps > length:
        raise HyperparameterError(
            format_error(
                "n_step_returns: n",
                wanted=f"at most the {length} steps of a trajectory",
                got=f"{n}",
                fix="Raise num_steps of the rollout, lower n, or pass n=None for whole "
                "trajectories.",
            )
        )

    def targets(trajectory: Rollout):
        reward, discounts = rewards_and_discounts(trajectory, discount)
        return rlax.n_step_bootstrapped_returns(reward, discounts, trajectory.next_value, steps)

    target = vmap_trajectories("n_step_returns", targets, rollout)
    return Estimates(rollout, target - rollout.value, target)


@transform
def q_lambda_returns(
    rollout: Rollout, *, discount: Fraction = 0.99, lambda_: Fraction = 0.95
) -> Targets:
    """Q(lambda) targets for the Q-values of the actions taken: lambda-returns that bootstrap from
    the largest Q-value, without a target network.

        target_t = reward_t
            + discount * ((1 - lambda_) * max_a Q(next_observation_t, a) + lambda_ * target_{t+1})

    Gallici et al. 2024, "Simplifying Deep Temporal Difference Learning", section 4; Peng &
    Williams 1996, "Incremental Multi-Step Q-Learning": the sum goes on past actions that
    were not the best. It is cut where an episode ends and at the last step, of which
    only the best value is left, of the observation before the reset; 0 if terminated.

    `max_a Q` is the rollout's `next_value`, so the agent's value has to be that of its best
    action, as for [`q_agent`][lerax_fx.q_agent] and [`gru_q_agent`][lerax_fx.agents.gru_q_agent]. A
    rollout of `(environments, time)` gives targets of the same shape. For recurrent agents
    they hold the hidden state before each trajectory, and where episodes begin in it.

    **Arguments:**

    - `discount`: of a reward one step later, in [0, 1]; where observations are
      [`Timed`][lerax_fx.data.Timed], one unit of time later: `discount ** dt` for a step.
    - `lambda_`: 0 for one-step targets, 1 for whole returns, in [0, 1].
    """

    def targets(trajectory: Rollout):
        reward, discounts = rewards_and_discounts(trajectory, discount)
        weight = jnp.asarray(lambda_, reward.dtype)
        return rlax.lambda_returns(reward, discounts, trajectory.next_value, weight)

    target = vmap_trajectories("q_lambda_returns", targets, rollout)
    return Targets(
        rollout.observation,
        rollout.action,
        target,
        memory=rollout.memory,
        resets=rollout.resets,
    )


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
    """V-trace targets and advantages: off-policy corrected to the agent's current policy.

    Espeholt et al. 2018 (IMPALA), eq. 1 and section 4.2: temporal differences weighted by
    `rho = min(clip_rho, ratio)` and `c = lambda_ * min(1, ratio)`, where `ratio` is the
    probability of the action under the current policy over that under the behaviour policy. The
    values are those that the rollout recorded; with an unchanged agent every ratio is 1, and the
    targets are n-step returns over the whole trajectory.

    **Arguments:**

    - `discount`, `lambda_`: in [0, 1]; where observations are [`Timed`][lerax_fx.data.Timed],
      `discount ** dt` is that of a step.
    - `clip_rho`: the largest weight of a temporal difference in the target.
    - `clip_policy_rho`: the largest weight of an advantage.
    """
    evaluation = forward_rollout("vtrace", agent, rollout, key)
    ratio = jnp.exp(evaluation.log_prob(rollout.action) - rollout.log_prob)

    def estimate(trajectory: Rollout, ratio: Any):
        reward, discounts = rewards_and_discounts(trajectory, discount)
        weight = jnp.asarray(lambda_, ratio.dtype)
        rho = jnp.minimum(clip_rho, ratio)
        delta = rho * (reward + discounts * trajectory.next_value - trajectory.value)
        error = _discounted_sums(delta, discounts * weight * jnp.minimum(1.0, ratio))
        target = trajectory.value + error
        following = weight * target[1:] + (1.0 - weight) * trajectory.value[1:]
        # After the last step, the discount is 0: what follows it is in its reward.
        q_value = reward + discounts * jnp.append(following, 0.0)
        return jnp.minimum(clip_policy_rho, ratio) * (q_value - trajectory.value), target

    return Estimates(rollout, *vmap_trajectories("vtrace", estimate, rollout, ratio))


@transform
def normalize_advantage(data: Estimates, *, epsilon: Positive = 1e-8) -> Estimates:
    """Normalise advantages to mean 0 and standard deviation 1 over the batch.

    Within `minibatch` that is each minibatch, as PPO's implementations have it (Huang et
    al. 2022, "The 37 Implementation Details of Proximal Policy Optimization", detail 7).

    **Arguments:**

    - `epsilon`: is added to the standard deviation, against division by zero.
    """
    centred = data.advantage - data.advantage.mean()
    return Estimates(data.rollout, centred / (data.advantage.std() + epsilon), data.target)


@transform
def recompute_values(agent: Any, rollout: Rollout, key: Key) -> Rollout:
    """Recompute `value` and `next_value` with the agent's current parameters.

    To estimate advantages anew in each epoch (Andrychowicz et al. 2021, "What
    Matters In On-Policy Reinforcement Learning?", section 3.5):

        repeat(4, chain(recompute_values(), gae(), minibatch(..., num_epochs=1)))

    As `rollout` has it, `next_value` is that of `next_observation`, and 0 where the episode
    terminated. Recurrent agents are unrolled from the hidden state that the rollout began with.
    """
    keys = split_keys(key, rollout.reward.shape[:-1])
    value, following = _batched(_unroll, agent, rollout, keys)

    def all_values() -> Any:
        values = _batched(_next_values, agent, rollout, keys)
        return jnp.where(rollout.truncated, values, following)

    # Within an episode it is the next step's value; a truncated step has none to look at.
    cut_short = jnp.any(rollout.truncated[..., :-1])
    next_value = jax.lax.cond(cut_short, all_values, lambda: following)
    return dataclasses.replace(
        rollout, value=value, next_value=jnp.where(rollout.terminated, 0.0, next_value)
    )


def _batched(function: Any, agent: Any, rollout: Rollout, keys: Array) -> Any:
    def one(trajectory: Rollout, key: Key) -> Any:
        return function(agent, trajectory, key)

    for _ in range(rollout.reward.ndim - 1):
        one = jax.vmap(one)
    return one(rollout, keys)


def _unroll(
    agent: Any, trajectory: Rollout, key: Key
) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
    """The value of each observation, and the one after it; at the end, of what follows."""
    steps = trajectory.observation, trajectory.resets
    unrolled = agent.unroll(trajectory.memory, *steps, key)
    memory, output = check_pair("recompute_values: agent: unroll", unrolled)
    last = jax.tree.map(lambda x: x[-1], trajectory.next_observation)
    after = agent.step(memory, last, agent_key(key))[1].value
    return output.value, jnp.append(output.value[1:], after)


def _next_values(agent: Any, trajectory: Rollout, key: Key) -> Float[Array, " time"]:
    """The value of each `next_observation`, by one step from the hidden state before it."""
    steps = trajectory.observation, trajectory.resets, trajectory.next_observation
    return next_outputs(agent, trajectory.memory, *steps, agent_key(key, 1)).value
