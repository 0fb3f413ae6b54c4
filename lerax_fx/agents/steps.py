"""Functions of one step, over a batch of steps."""

from collections.abc import Callable
from typing import Any

import jax

from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Tree


def over_steps(function: Callable[..., Any], axes: int, *arguments: Tree) -> Any:
    """A function of one step, for arguments whose arrays begin with so many axes of steps."""
    leading = jax.tree.leaves(arguments)[0].shape[:axes]
    # Over one axis, as XLA's CPU backend takes matrix products best.
    rows = jax.tree.map(lambda x: jax.lax.collapse(x, 0, axes), arguments)
    results = jax.vmap(function)(*rows)
    return jax.tree.map(lambda x: x.reshape(*leading, *x.shape[1:]), results)


def check_q_actor_critic(where: str, agent: Any) -> None:
    """**Raises:** `WiringError` if the agent has no critics of real-valued actions."""
    wanted = ("distribution", "critic_values")
    missing = [name for name in wanted if not callable(getattr(agent, name, None))]
    if missing:
        raise WiringError(
            explain(
                f"{where}: agent",
                wanted=f"an agent with the methods {' and '.join(wanted)}",
                got=f"a {type(agent).__name__} without {' and '.join(missing)}",
                fix="Make it with fx.deterministic_actor_critic(env, key=key), or add the "
                "methods to your agent.",
            )
        )
