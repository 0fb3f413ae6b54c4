"""Action values of a batch."""

from typing import Any

import jax
from jaxtyping import Array, Float

from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Tree


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
    leading = jax.tree.leaves(observation)[0].shape[:axes]
    # Over one axis, as XLA's CPU backend takes matrix products best.
    rows = jax.tree.map(lambda x: jax.lax.collapse(x, 0, axes), observation)
    values = jax.vmap(agent.action_values)(rows)
    return values.reshape(*leading, *values.shape[1:])
