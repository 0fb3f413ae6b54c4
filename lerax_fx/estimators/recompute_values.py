"""Values of a rollout under the agent as it is now."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.lift import transform
from lerax_fx.data.rollout import Rollout
from lerax_fx.types import Tree


@transform
def recompute_values(agent: Any, rollout: Rollout) -> Rollout:
    """Replace `value` and `next_value` by those of the agent as it is now.

    For advantages that are estimated anew in each epoch (Andrychowicz et al. 2021, "What
    Matters In On-Policy Reinforcement Learning?", section 3.5):

        repeat(4, chain(recompute_values(), gae(), minibatch(..., num_epochs=1)))

    As `rollout` has it, `next_value` is that of `next_observation`, and 0 where the episode
    terminated. Recurrent agents are unrolled from the hidden state that the rollout began with.
    """
    unrolled = _batched(lambda trajectory: _unroll(agent, trajectory), rollout)
    value, following = unrolled(rollout)

    def all_values() -> Any:
        values = _batched(lambda trajectory: _next_values(agent, trajectory), rollout)(rollout)
        return jnp.where(rollout.truncated, values, following)

    # Within an episode it is the next step's value; a truncated step has none to look at.
    cut_short = jnp.any(rollout.truncated[..., :-1])
    next_value = jax.lax.cond(cut_short, all_values, lambda: following)
    return dataclasses.replace(
        rollout, value=value, next_value=jnp.where(rollout.terminated, 0.0, next_value)
    )


def _batched(function: Any, rollout: Rollout) -> Any:
    for _ in range(rollout.reward.ndim - 1):
        function = jax.vmap(function)
    return function


def _unroll(agent: Any, trajectory: Rollout) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
    """The value of each observation, and the one after it; at the end, of what follows."""
    memory, _, value = agent.unroll(trajectory.memory, trajectory.observation, trajectory.resets)
    last = jax.tree.map(lambda x: x[-1], trajectory.next_observation)
    return value, jnp.append(value[1:], agent.step(memory, last)[2])


def _next_values(agent: Any, trajectory: Rollout) -> Float[Array, " time"]:
    """The value of each `next_observation`, a step at a time."""
    initial = agent.initial_memory()

    def one_step(memory: Tree, inputs: Any) -> tuple[Tree, Any]:
        observation, next_observation, reset = inputs
        memory = jax.tree.map(lambda a, b: jnp.where(reset, a, b), initial, memory)
        memory = agent.step(memory, observation)[0]
        return memory, agent.step(memory, next_observation)[2]

    steps = trajectory.observation, trajectory.next_observation, trajectory.resets
    return jax.lax.scan(one_step, trajectory.memory, steps)[1]
