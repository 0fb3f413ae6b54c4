"""An update that may be left out."""

from collections.abc import Callable

import equinox as eqx
import jax

from lerax_fx.core.absent import absent
from lerax_fx.core.hyperparameters import is_hyperparameter
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
        return arrays, {name: absent(like.shape, like.dtype) for name, like in shapes.items()}

    arrays, metrics = jax.lax.cond(due, changed, unchanged, arrays)
    return eqx.combine(arrays, fixed), metrics
