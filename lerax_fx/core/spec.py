"""Shapes and dtypes in messages."""

import jax

from lerax_fx.types import Tree


def spec(tree: Tree) -> str:
    """Shapes and dtypes as a message writes them."""
    leaves = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(tree)]
    return ", ".join(leaves) or "nothing"
