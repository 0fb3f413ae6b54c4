"""Shapes, dtypes and leading axes of PyTrees."""

from dataclasses import fields
from typing import Any

import equinox as eqx
import jax
import numpy as np

from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Tree


def spec(tree: Tree) -> str:
    """Shapes and dtypes as a message writes them."""
    leaves = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(tree)]
    return ", ".join(leaves) or "nothing"


def written(value: Any) -> str:
    """A hyperparameter as `describe` and formulas show it: its value, of a large array the shape,
    of a small module its name and what is in it.
    """
    if isinstance(value, float):
        return f"{value:g}"
    if eqx.is_array(value):
        return f"{value}" if value.shape == () else f"{value.dtype}{list(value.shape)}"
    if isinstance(value, eqx.Module) and type(value).__str__ is object.__str__:
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        shown = int | float | str | eqx.Module
        settings = {
            name: part
            for name, part in parts.items()
            if isinstance(part, shown) or eqx.is_array(part)
        }
        # No comma, at which a long cell of a table is broken.
        inside = " ".join(f"{name}={written(part)}" for name, part in settings.items())
        return f"{type(value).__name__}({inside})"
    return getattr(value, "__name__", None) or str(value)


def first_difference(before: Tree, after: Tree) -> tuple[str, str, str] | None:
    """Where two PyTrees first differ in structure, shape or dtype, or in a leaf that is no
    array: `(path, before, after)`; None if they do not.
    """
    if before is after:
        return None
    old, old_structure = jax.tree_util.tree_flatten_with_path(before)
    new, new_structure = jax.tree_util.tree_flatten_with_path(after)
    for (path, one), (other_path, other) in zip(old, new, strict=False):
        if path != other_path:
            break
        if described := _leaf_difference(one, other):
            return jax.tree_util.keystr(path), *described
    if old_structure == new_structure:
        return None
    paths, others = ({jax.tree_util.keystr(path) for path, _ in leaves} for leaves in (old, new))
    for path in sorted(paths ^ others):
        there = path in paths
        return path, "a leaf" if there else "no leaf", "no leaf" if there else "a leaf"
    return "", _short(old_structure), _short(new_structure)


def _leaf_difference(one: Any, other: Any) -> tuple[str, str] | None:
    if _is_array(one) and _is_array(other):
        shapes = np.shape(one) == np.shape(other)
        same = shapes and jax.dtypes.canonicalize_dtype(
            one.dtype, allow_extended_dtype=True
        ) == jax.dtypes.canonicalize_dtype(other.dtype, allow_extended_dtype=True)
    else:
        same = one is other or (type(one) is type(other) and bool(np.all(one == other)))
    return None if same else (_leaf_spec(one), _leaf_spec(other))


def _is_array(leaf: Any) -> bool:
    return (eqx.is_array_like(leaf) and hasattr(leaf, "dtype")) or isinstance(
        leaf, jax.ShapeDtypeStruct
    )


def _leaf_spec(leaf: Any) -> str:
    return spec(leaf) if _is_array(leaf) else f"{leaf!r:.60}"


def _short(structure: Any) -> str:
    text = str(structure)
    return text if len(text) <= 200 else text[:200] + "..."


def check_leading_axes(where: str, shape: tuple[int, ...], fields: dict[str, Tree]) -> None:
    """Check that every array of every field begins with `shape`.

    Scalar fields say their axes in their annotations; observations and actions have further
    axes, which an annotation cannot say.

    **Raises:** `WiringError` naming the field.
    """
    for name, tree in fields.items():
        for leaf in jax.tree.leaves(tree):
            own: tuple[int, ...] = np.shape(leaf)
            if own[: len(shape)] != shape:
                raise WiringError(
                    format_error(
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
            format_error(
                where,
                wanted=f"data whose arrays share their first {count} axes",
                got=f"arrays that begin with {sorted(shapes)}",
                fix="Give every array of the data the same leading axes.",
            )
        )
    return shapes.pop()


class Checked(eqx.Module):
    """Data that is checked where it is made: by the runtime type checkers, and by its own
    `__check_init__`. `equinox.tree_at` and `jax.tree.map` make new data past both.
    """

    def checked(self) -> "Checked":
        """The same, made anew, so that what was changed since is checked as well."""
        return type(self)(**{field.name: _checked(self, field.name) for field in fields(self)})


def _checked(data: Any, name: str) -> Any:
    value = getattr(data, name)
    return value.checked() if isinstance(value, Checked) else value
