"""Values of a rollout under the agent as it is now."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.lift import transform
from lerax_fx.agents.unroll import agent_key, next_outputs, split_keys
from lerax_fx.data.rollout import Rollout
from lerax_fx.types import Key


@transform
def recompute_values(agent: Any, rollout: Rollout, key: Key) -> Rollout:
    """Replace `value` and `next_value` by those of the agent as it is now.

    For advantages that are estimated anew in each epoch (Andrychowicz et al. 2021, "What
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


def _batched(function: Any, agent: Any, rollout: Rollout, keys: Key) -> Any:
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
    memory, output = agent.unroll(trajectory.memory, *steps, key)
    last = jax.tree.map(lambda x: x[-1], trajectory.next_observation)
    after = agent.step(memory, last, agent_key(key))[1].value
    return output.value, jnp.append(output.value[1:], after)


def _next_values(agent: Any, trajectory: Rollout, key: Key) -> Float[Array, " time"]:
    """The value of each `next_observation`, a step at a time."""
    steps = trajectory.observation, trajectory.resets, trajectory.next_observation
    return next_outputs(agent, trajectory.memory, *steps, agent_key(key, 1)).value
