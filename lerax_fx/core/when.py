"""An update that may be left out."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx.core.hyperparameters import is_hyperparameter
from lerax_fx.core.varying import vary_over, varying_axes
from lerax_fx.types import Flag, Metrics, Tree

Changing = tuple[Tree, Tree]
"""An agent, and a state."""


def when(
    due: Flag, run: Callable[[Changing], tuple[Changing, Metrics]], changing: Changing
) -> tuple[Changing, Metrics]:
    """`run` if it is due, else everything as it was, and metrics that say "not there".

    What `run` only reads it closes over. What it is given and gives back goes through a
    `lax.cond`, which copies: keep data out of it.
    """
    arrays, fixed = eqx.partition(changing, is_hyperparameter)

    def changed(arrays: Tree) -> tuple[Tree, Metrics]:
        result, metrics = run(eqx.combine(arrays, fixed))
        return eqx.filter(result, is_hyperparameter), metrics

    shapes = jax.eval_shape(changed, arrays)[1]

    def unchanged(arrays: Tree) -> tuple[Tree, Metrics]:
        return arrays, {name: _absent(shape) for name, shape in shapes.items()}

    axes = varying_axes((due, arrays))
    arrays, metrics = jax.lax.cond(
        due,
        lambda arrays: vary_over(axes, changed(arrays)),
        lambda arrays: vary_over(axes, unchanged(arrays)),
        arrays,
    )
    return eqx.combine(arrays, fixed), metrics


def _absent(shape: jax.ShapeDtypeStruct) -> Any:
    """What a metric is in an update that did not measure it: NaN, or 0 for whole numbers."""
    missing = jnp.nan if jnp.issubdtype(shape.dtype, jnp.inexact) else 0
    return jnp.full(shape.shape, missing, shape.dtype)
