"""Whether an agent is what a stage asks for, and fits its environment."""

from typing import Any

import jax
import numpy as np

from lerax_fx._core.arrays import spec
from lerax_fx.environments.env import Env
from lerax_fx.environments.spaces import Discrete
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Tree

_METHODS = ("initial_memory", "step", "unroll")


def check_actor_critic(where: str, agent: Any, env: Env) -> None:
    """Check an agent against an environment, abstractly: nothing is computed.

    **Raises:** `WiringError` if a method is missing, if the agent cannot take the
    environment's observations, if what it returns is not `(memory, distribution, value)`,
    or if its actions are not of the environment's action space.
    """
    _check_methods(where, agent)
    observation = jax.eval_shape(lambda key: env.reset(key=key)[1], jax.random.key(0))
    memory = jax.eval_shape(agent.initial_memory)
    action, value, next_memory = _abstract_step(where, agent, memory, observation, env)
    if np.shape(value) != ():
        raise WiringError(
            explain(
                f"{where}: step",
                wanted="a value of shape () for one observation",
                got=f"shape {np.shape(value)}",
                fix="Write the agent for one environment and one step; it is vmapped outside.",
            )
        )
    if spec(next_memory) != spec(memory):
        raise WiringError(
            explain(
                f"{where}: step",
                wanted=f"a memory like initial_memory's, {spec(memory)}",
                got=f"{spec(next_memory)}",
                fix="Return memory of the same shapes and dtypes as it came.",
            )
        )
    wanted = jax.eval_shape(lambda key: env.action_space.sample(key), jax.random.key(0))
    if not _actions_match(action, wanted):
        raise WiringError(
            explain(
                f"{where}: actions",
                wanted=f"actions of {env.name}'s {env.action_space!r}: {spec(wanted)}",
                got=f"{spec(action)}",
                fix="Make the agent for this environment's action space, for instance with "
                "fx.actor_critic(env, key=key).",
            )
        )


def _check_methods(where: str, agent: Any) -> None:
    missing = [name for name in _METHODS if not callable(getattr(agent, name, None))]
    if missing:
        raise WiringError(
            explain(
                where,
                wanted=f"an agent with the methods {', '.join(_METHODS)}",
                got=f"a {type(agent).__name__} without {', '.join(missing)}",
                fix="Use fx.actor_critic(env, key=key), or add the methods to your agent.",
            )
        )


def _abstract_step(
    where: str, agent: Any, memory: Tree, observation: Tree, env: Env
) -> tuple[Any, Any, Any]:
    def step(memory: Tree, observation: Tree, key: Any) -> tuple[Any, Any, Any]:
        result = agent.step(memory, observation)
        if not isinstance(result, tuple) or len(result) != 3:
            raise WiringError(
                explain(
                    f"{where}: step",
                    wanted="(memory, distribution, value)",
                    got=f"a {type(result).__name__}",
                    fix="Return these three from the agent's step.",
                )
            )
        next_memory, distribution, value = result
        _check_choices(where, distribution, env)
        return distribution.sample(seed=key), value, next_memory

    try:
        return jax.eval_shape(step, memory, observation, jax.random.key(0))
    except WiringError:
        raise
    except Exception as error:
        raise WiringError(
            explain(
                f"{where}: step",
                wanted=f"an agent that takes {env.name}'s observations, {spec(observation)}",
                got=f"{type(error).__name__}: {str(error).splitlines()[0]}",
                fix="Make the agent for this environment's observation space, for instance "
                "with fx.actor_critic(env, key=key); or mend its step, where that error arose.",
            )
        ) from error


def _check_choices(where: str, distribution: Any, env: Env) -> None:
    """A categorical over other numbers than the environment has actions draws impossible ones,
    or leaves some out, and neither shows in a shape.
    """
    space, choices = env.action_space, getattr(distribution, "num_categories", None)
    if isinstance(space, Discrete) and isinstance(choices, int) and choices != space.n:
        raise WiringError(
            explain(
                f"{where}: actions",
                wanted=f"a distribution over {env.name}'s {space.n} actions",
                got=f"one over {choices}",
                fix="Make the agent for this environment's action space, for instance with "
                "fx.actor_critic(env, key=key).",
            )
        )


def _actions_match(action: Tree, wanted: Tree) -> bool:
    """Shapes must agree, and whole numbers must meet whole numbers."""
    ours, theirs = jax.tree.leaves(action), jax.tree.leaves(wanted)
    return len(ours) == len(theirs) and all(
        a.shape == b.shape
        and np.issubdtype(a.dtype, np.inexact) == np.issubdtype(b.dtype, np.inexact)
        for a, b in zip(ours, theirs, strict=True)
    )
