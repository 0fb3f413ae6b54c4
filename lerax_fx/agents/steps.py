"""Functions of one step, over a batch of steps."""

from collections.abc import Callable
from typing import Any

import jax

from lerax_fx.types import Tree


def over_steps(function: Callable[..., Any], axes: int, *arguments: Tree) -> Any:
    """A function of one step, for arguments whose arrays begin with so many axes of steps."""
    leading = jax.tree.leaves(arguments)[0].shape[:axes]
    # Over one axis, as XLA's CPU backend takes matrix products best.
    rows = jax.tree.map(lambda x: jax.lax.collapse(x, 0, axes), arguments)
    results = jax.vmap(function)(*rows)
    return jax.tree.map(lambda x: x.reshape(*leading, *x.shape[1:]), results)
