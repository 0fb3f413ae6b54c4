"""Action values of a batch."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.steps import over_steps
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Tree


def check_choices(where: str, action: Tree) -> None:
    """**Raises:** `WiringError` unless the actions are whole numbers."""
    leaves = jax.tree.leaves(action)
    if len(leaves) != 1 or not jnp.issubdtype(leaves[0].dtype, jnp.integer):
        raise WiringError(
            explain(
                f"{where}: data: action",
                wanted="actions that are whole numbers: which of a few was taken",
                got=", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves),
                fix="For real-valued actions use critics: fx.critic_loss().",
            )
        )


def action_values(
    where: str, agent: Any, observation: Tree, axes: int
) -> Float[Array, "*batch actions"]:
    """The values of all actions, for observations that begin with so many axes.

    **Raises:** `WiringError` if the agent has none.
    """
    if not callable(getattr(agent, "action_values", None)):
        raise WiringError(
            explain(
                f"{where}: agent",
                wanted="an agent with the method action_values",
                got=f"a {type(agent).__name__}",
                fix="Make it with fx.q_agent(env, key=key), or add the method to your agent.",
            )
        )
    values = over_steps(agent.action_values, axes, observation)
    if not hasattr(values, "ndim") or values.ndim != axes + 1:
        raise WiringError(
            explain(
                f"{where}: agent: action_values",
                wanted="one vector for one observation: a value for each action",
                got=f"shape {getattr(values, 'shape', ())[axes:]}",
                fix="Write it for one observation; it is vmapped outside.",
            )
        )
    return values
