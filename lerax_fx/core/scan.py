"""`lax.scan` over carries that may hold more than arrays."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx.core.hyperparameters import is_hyperparameter
from lerax_fx.core.varying import vary_over, varying_axes

Carry = TypeVar("Carry")
X = TypeVar("X")
Y = TypeVar("Y")


def scan(
    body: Callable[[Carry, X], tuple[Carry, Y]], carry: Carry, xs: X, length: int | None = None
) -> tuple[Carry, Y]:
    """`jax.lax.scan`, with what is no array in the carry (an agent's functions) held fixed.

    Python floats in the carry become arrays: what is trained may change them. Under
    `jax.shard_map`, the carry varies over the axes that any of it or of `xs` varies over.
    """
    dynamic: Any
    fixed: Any
    dynamic, fixed = eqx.partition(carry, is_hyperparameter)

    def array_body(dynamic: Any, x: X) -> tuple[Any, Y]:
        result, y = body(eqx.combine(dynamic, fixed), x)
        return eqx.filter(result, is_hyperparameter), y

    dynamic = jax.tree.map(_as_array, dynamic)
    dynamic = vary_over(varying_axes((dynamic, xs)), dynamic)
    end, ys = jax.lax.scan(array_body, dynamic, xs, length)
    return eqx.combine(end, fixed), ys


def _as_array(number: Any) -> Any:
    # Only what Python holds: jnp.asarray would refuse keys and copy nothing else.
    return jnp.asarray(number) if isinstance(number, float | complex) else number
