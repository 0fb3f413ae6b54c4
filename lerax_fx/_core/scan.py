"""`lax.scan` and `lax.cond` over agents and states, also under `jax.shard_map`."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import equinox as eqx
import jax

from lerax_fx._core.hyperparameters import is_array
from lerax_fx._core.metrics import absent
from lerax_fx.typing import Flag, Metrics, Tree

T = TypeVar("T")


def varying_axes(tree: Any) -> frozenset[str]:
    """The mesh axes over which at least one array of a PyTree varies."""
    axes = (_axes(leaf) for leaf in jax.tree.leaves(tree))
    return frozenset[str]().union(*axes)


def vary_over(axes: frozenset[str], tree: T) -> T:
    """Cast a PyTree to vary over these mesh axes as well."""
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


C = TypeVar("C")
X = TypeVar("X")
Y = TypeVar("Y")

Carry: TypeAlias = tuple[Tree, Tree]
"""An agent and a state."""


def scan(
    body: Callable[[C, X], tuple[C, Y]], carry: C, xs: X, length: int | None = None
) -> tuple[C, Y]:
    """`jax.lax.scan` whose carry may hold leaves that are no arrays (an agent's functions and
    floats): these are constants. Under `jax.shard_map`, the carry varies over the axes that any of
    it or of `xs` varies over.
    """
    dynamic: Any
    fixed: Any
    dynamic, fixed = eqx.partition(carry, is_array)

    def array_body(dynamic: Any, x: X) -> tuple[Any, Y]:
        result, y = body(eqx.combine(dynamic, fixed), x)
        return eqx.filter(result, is_array), y

    dynamic = vary_over(varying_axes((dynamic, xs)), dynamic)
    end, ys = jax.lax.scan(array_body, dynamic, xs, length)
    return eqx.combine(end, fixed), ys


def conditional_update(
    due: Flag, run: Callable[[Carry], tuple[Carry, Metrics]], carry: Carry
) -> tuple[Carry, Metrics]:
    """Conditional update: `run` if it is due, else the carry unchanged and metrics that count as
    not measured.

    What `run` only reads it closes over. What it is given and returns goes through a `lax.cond`,
    which copies: keep data out of it.
    """
    arrays, fixed = eqx.partition(carry, is_array)

    def changed(arrays: Tree) -> tuple[Tree, Metrics]:
        result, metrics = run(eqx.combine(arrays, fixed))
        return eqx.filter(result, is_array), metrics

    shapes = jax.eval_shape(changed, arrays)[1]

    def unchanged(arrays: Tree) -> tuple[Tree, Metrics]:
        return arrays, {name: absent(m.shape, m.dtype) for name, m in shapes.items()}

    axes = varying_axes((due, arrays))
    arrays, metrics = jax.lax.cond(
        due,
        lambda arrays: vary_over(axes, changed(arrays)),
        lambda arrays: vary_over(axes, unchanged(arrays)),
        arrays,
    )
    return eqx.combine(arrays, fixed), metrics
