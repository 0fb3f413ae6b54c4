"""Whether the actions of some data are discrete."""

import jax
import jax.numpy as jnp

from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Tree


def check_discrete_actions(where: str, action: Tree) -> None:
    """**Raises:** `WiringError` unless the actions are one array of integers."""
    leaves = jax.tree.leaves(action)
    if len(leaves) != 1 or not jnp.issubdtype(leaves[0].dtype, jnp.integer):
        raise WiringError(
            explain(
                f"{where}: data: action",
                wanted="discrete actions: one array of integers",
                got=", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves),
                fix="For continuous actions use critics: fx.critic_loss().",
            )
        )
