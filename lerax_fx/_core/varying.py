"""Values that differ from device to device, under `jax.shard_map`.

There each array has in its type the mesh axes over which it varies, and the carry of a loop and
the branches of a condition must agree on them:
https://docs.jax.dev/en/latest/notebooks/shard_map.html An array made anew, such as `jnp.zeros(())`,
varies over none. Elsewhere these functions return what they are given.
"""

from typing import Any, TypeVar

import jax

T = TypeVar("T")


def varying_axes(tree: Any) -> frozenset[str]:
    """The mesh axes over which at least one array of a PyTree varies."""
    axes = (_axes(leaf) for leaf in jax.tree.leaves(tree))
    return frozenset[str]().union(*axes)


def vary_over(axes: frozenset[str], tree: T) -> T:
    """The same, with every array and number varying over these axes, too."""
    if not axes:
        return tree

    def cast(leaf: Any) -> Any:
        missing = tuple(sorted(axes - _axes(leaf)))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(cast, tree)


def _axes(leaf: Any) -> frozenset[str]:
    kind = jax.typeof(leaf)
    # The name of this attribute differs between releases of JAX.
    manual = getattr(kind, "manual_axis_type", None)
    varying = getattr(kind, "vma", None) if manual is None else manual.varying
    return frozenset(varying or ())
