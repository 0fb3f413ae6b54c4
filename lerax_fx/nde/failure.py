"""What becomes of an interval that could not be solved."""

from typing import Any, Final, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx.types import Flag, Tree

OnFailure: TypeAlias = str
"""One of `OUTCOMES`."""

OUTCOMES: Final = ("hold", "raise", "propagate")


def outcome(on_failure: OnFailure, failed: Flag, before: Tree, after: Tree) -> Tree:
    """The state after an interval.

    **Arguments:**

    - `on_failure`: where `failed`, `"hold"` leaves the state as it was before, `"raise"`
      ends the program with an error, and `"propagate"` gives what came of it, or NaN.
    """
    match on_failure:
        case "hold":
            return jax.tree.map(lambda a, b: jnp.where(failed, a, b), before, after)
        case "raise":
            message = (
                "nde_solve: wanted a finite state after dt >= 0, got a field that exploded, a "
                "stiff one, or a dt below 0 or NaN. Take more steps or an implicit solver, bound "
                "the field, or pass on_failure='hold'."
            )
            return eqx.error_if(after, failed, message)
        case _:
            return jax.tree.map(lambda b: jnp.where(failed, jnp.nan, b), after)


def all_finite(tree: Tree) -> Flag:
    """Whether all numbers of a state are finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def guarded(tree: Tree) -> Tree:
    """The same; but what is not finite in the gradient that comes back is 0.

    A state that is held has nothing to do with the interval that failed, but 0 times the
    infinite slopes within is NaN.
    """
    dynamic: Any
    rest: Any
    dynamic, rest = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(_guard(dynamic), rest)


@jax.custom_vjp
def _guard(tree: Tree) -> Tree:
    return tree


def _forward(tree: Tree) -> tuple[Tree, None]:
    return tree, None


def _backward(residuals: None, gradient: Tree) -> tuple[Tree]:
    del residuals
    return (jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0), gradient),)


_guard.defvjp(_forward, _backward)
