"""The leading axes that the fields of a batch share."""

from typing import Any

import jax
import numpy as np

from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Tree


def check_leading_axes(where: str, shape: tuple[int, ...], fields: dict[str, Tree]) -> None:
    """Check that every array of every field begins with `shape`.

    Scalar fields say their axes in their annotations; observations and actions have axes
    of their own behind, which an annotation cannot say.

    **Raises:** `WiringError` naming the field.
    """
    for name, tree in fields.items():
        for leaf in jax.tree.leaves(tree):
            own: tuple[int, ...] = np.shape(leaf)
            if own[: len(shape)] != shape:
                raise WiringError(
                    explain(
                        f"{where}: {name}",
                        wanted=f"arrays that begin with the axes {shape}, as the others do",
                        got=f"shape {own}",
                        fix="Give every field of a batch the same leading axes.",
                    )
                )


def common_axes(where: str, data: Any, count: int) -> tuple[int, ...]:
    """The first `count` axes that all arrays in `data` share.

    **Raises:** `WiringError` if there is no array, or if they differ.
    """
    shapes = {np.shape(leaf)[:count] for leaf in jax.tree.leaves(data)}
    if len(shapes) != 1 or any(len(shape) != count for shape in shapes):
        raise WiringError(
            explain(
                where,
                wanted=f"data whose arrays share their first {count} axes",
                got=f"arrays that begin with {sorted(shapes)}",
                fix="Give every array of the data the same leading axes.",
            )
        )
    return shapes.pop()
