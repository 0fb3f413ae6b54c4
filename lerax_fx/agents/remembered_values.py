"""Action values of agents that remember."""

from typing import Any

import distrax
import jax
from jaxtyping import Array, Bool, Float

from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Flag, Tree


def values_along(
    where: str, agent: Any, memory: Tree, observation: Tree, resets: Bool[Array, " time"]
) -> Float[Array, "time actions"]:
    """The values of all actions along one trajectory.

    **Raises:** `WiringError` if the agent has none.
    """
    _, distribution, _ = agent.unroll(memory, observation, resets)
    return _preferences(where, distribution)


def values_after(
    where: str,
    agent: Any,
    memory: Tree,
    observation: Tree,
    resets: Bool[Array, " time"],
    next_observation: Tree,
) -> Float[Array, "time actions"]:
    """The values of all actions in what each step of one trajectory led to, before any reset.

    Within an episode that is the next step's observation; at its end, it is another one, and
    the memory that belongs to it is not in the trajectory that `unroll` goes through.

    **Raises:** `WiringError` if the agent has none.
    """
    initial = agent.initial_memory()

    def advance(memory: Tree, inputs: tuple[Tree, Flag]) -> tuple[Tree, Tree]:
        observation, reset = inputs
        memory = jax.tree.map(lambda a, b: jax.numpy.where(reset, a, b), initial, memory)
        memory, _, _ = agent.step(memory, observation)
        return memory, memory

    def value(memory: Tree, observation: Tree) -> Float[Array, " actions"]:
        return _preferences(where, agent.step(memory, observation)[1])

    _, memories = jax.lax.scan(advance, memory, (observation, resets))
    return jax.vmap(value)(memories, next_observation)


def check_remembered(where: str, memory: Tree) -> None:
    """**Raises:** `WiringError` for data without memory."""
    if not jax.tree.leaves(memory):
        raise WiringError(
            explain(
                where,
                wanted="data with the agent's memory in it: the agent remembers",
                got="none",
                fix="Draw windows with fx.replay(...), whose data comes from fx.rollout(...).",
            )
        )


def _preferences(where: str, distribution: Any) -> Float[Array, "*time actions"]:
    if isinstance(distribution, distrax.Greedy):
        return distribution.preferences
    raise WiringError(
        explain(
            f"{where}: agent",
            wanted="an agent that acts greedily on action values (distrax.Greedy)",
            got=f"a {type(distribution).__name__}",
            fix="Make it with fx.gru_q_agent(env, key=key).",
        )
    )
