"""`lax.scan` over carries that may hold more than arrays."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

Carry = TypeVar("Carry")
X = TypeVar("X")
Y = TypeVar("Y")


def scan(
    body: Callable[[Carry, X], tuple[Carry, Y]], carry: Carry, xs: X, length: int | None = None
) -> tuple[Carry, Y]:
    """`jax.lax.scan`, with what is no array in the carry (an agent's functions) held fixed.

    Python floats in the carry become arrays: what is trained may change them.
    """
    numbers, rest = eqx.partition(carry, eqx.is_inexact_array_like)
    arrays, fixed = eqx.partition(rest, eqx.is_array)

    def array_body(dynamic: Any, x: X) -> tuple[Any, Y]:
        result, y = body(eqx.combine(dynamic, fixed), x)
        return eqx.filter(result, eqx.is_array), y

    start = eqx.combine(jax.tree.map(jnp.asarray, numbers), arrays)
    end, ys = jax.lax.scan(array_body, start, xs, length)
    return eqx.combine(end, fixed), ys
