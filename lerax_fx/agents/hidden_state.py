"""Whether an agent remembers: what may be done with its steps depends on it."""

import jax

from lerax_fx.types import Tree


def has_memory(agent: Tree) -> bool:
    """Whether an agent carries anything from step to step."""
    initial_memory = getattr(agent, "initial_memory", None)
    return initial_memory is not None and bool(jax.tree.leaves(jax.eval_shape(initial_memory)))
