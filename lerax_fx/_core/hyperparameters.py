"""Hyperparameters (traced leaves) and structure (everything else) of an algorithm.

An algorithm is a PyTree. Its floats and arrays are hyperparameters: they enter compiled code as
arguments, so a new value costs no compilation, they can be vmapped over, and gradients reach
them. Ints, bools, strings and functions are structure. Of an agent, only arrays are leaves: a
Python float in it (a dropout rate, a scale) is a constant.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from lerax_fx.errors import HyperparameterError, format_error


class Constant:
    """A leaf that is part of the structure.

    Compared with its type, because `1 == True` and both are legal; by identity where the value
    cannot be hashed, which costs a compilation at worst.
    """

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Constant) or type(self.value) is not type(other.value):
            return False
        if self.value is other.value:
            return True
        return _hashable(self.value) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value) if _hashable(self.value) else id(self.value)


@dataclass(frozen=True)
class Structure:
    """The structure of a PyTree, everything but its traced leaves: hashable and comparable.

    - `treedef`: JAX's; static fields are in it, and are compared with `==`.
    - `static_types`: the types of these, since `1 == True == 1.0`.
    - `constants`: the leaves that are structure, `None` where a leaf is a number.
    """

    treedef: Any
    static_types: tuple[type, ...]
    constants: tuple[Constant | None, ...]

    @functools.cached_property
    def only_numbers(self) -> bool:
        """Whether every leaf is a number: then the numbers are the leaves, in order."""
        return all(constant is None for constant in self.constants)


def partition(tree: Any) -> tuple[list[Any], Structure]:
    """Split an algorithm into its hyperparameters and its structure.

    **Returns:** the floats and arrays, in order, and a hashable [`Structure`][]. Two
    algorithms built by the same code with other numbers have equal structures, whether these
    are floats, NumPy scalars or arrays of shape `()`.

    **Raises:** `HyperparameterError` if a static field of a module cannot be hashed.
    """
    numbers, structure = _split("algorithm", tree, is_hyperparameter)
    return [_as_float(number) for number in numbers], structure


def partition_agent(agent: Any) -> tuple[list[Any], Structure]:
    """Split an agent into its arrays and its structure.

    **Raises:** `HyperparameterError` if a static field of a module cannot be hashed.
    """
    return _split("agent", agent, is_array)


def arrays_of(agent: Any, structure: Structure) -> list[Any]:
    """The arrays of an agent that is known to be of this structure.

    Where every leaf is an array this takes 16 us for PPO's agent instead of 38, which is paid in
    each step of a run that is called from Python.
    """
    return jax.tree.leaves(agent) if structure.only_numbers else partition_agent(agent)[0]


def combine(numbers: list[Any], structure: Structure) -> Any:
    """The inverse of [`partition`][] and [`partition_agent`][]."""
    if structure.only_numbers:
        return jax.tree.unflatten(structure.treedef, numbers)
    rest = iter(numbers)
    leaves = [next(rest) if c is None else c.value for c in structure.constants]
    return jax.tree.unflatten(structure.treedef, leaves)


def named_hyperparameters(tree: Any) -> dict[str, Any]:
    """The floats and arrays of a PyTree under readable names."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_readable(path): leaf for path, leaf in leaves if is_hyperparameter(leaf)}


def is_hyperparameter(value: Any) -> bool:
    """Whether a leaf of an algorithm is traced: a float, a complex number, or an array."""
    if isinstance(value, np.generic):
        return isinstance(value, np.inexact)
    return isinstance(value, float | complex | np.ndarray | jax.Array)


def is_array(value: Any) -> bool:
    """Whether a leaf of an agent or a state is traced: an array of JAX's or NumPy's."""
    return isinstance(value, jax.Array | np.ndarray | np.generic)


def _split(where: str, tree: Any, is_number: Callable[[Any], bool]) -> tuple[list[Any], Structure]:
    leaves, treedef = jax.tree.flatten(tree)
    numbers = [leaf for leaf in leaves if is_number(leaf)]
    constants = tuple(None if is_number(leaf) else Constant(leaf) for leaf in leaves)
    return numbers, Structure(treedef, tuple(_static_types(where, treedef)), constants)


def _as_float(number: Any) -> Any:
    """One form of a float, a NumPy scalar and an array of shape `()`, so that they share a program:
    the weakly typed float.
    """
    if isinstance(number, Tracer | float) or np.shape(number) != ():
        return number
    # Not of bfloat16 and the like, whose dtype was chosen.
    return float(number) if number.dtype in (np.float32, np.float64) else number


def _static_types(where: str, treedef: Any) -> list[type]:
    """The types of the values in static fields, in order."""
    node = treedef.node_data()
    found = [] if node is None else _types_in(node[1])
    if node is not None and issubclass(node[0], eqx.Module):
        _require_hashable(f"{where}: {node[0].__name__}", node[1])
    for child in treedef.children():
        found += _static_types(where, child)
    return found


def _types_in(value: Any) -> list[type]:
    if isinstance(value, tuple | list):
        return [kind for item in value for kind in _types_in(item)]
    if isinstance(value, dict):
        return [kind for item in value.values() for kind in _types_in(item)]
    # What else there is to compare has its own `__eq__`.
    return [type(value)] if isinstance(value, bool | int | float | complex) else []


def _readable(path: tuple[Any, ...]) -> str:
    parts: list[str] = []
    for entry in path:
        key = getattr(entry, "name", getattr(entry, "key", getattr(entry, "idx", entry)))
        parts.append(f"{key}")
    return "/".join(parts)


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _require_hashable(where: str, static: Any) -> None:
    # JAX's own hash of a treedef leaves these out, and then fails where it compares arrays.
    try:
        hash(static)
    except TypeError as error:
        raise HyperparameterError(
            format_error(
                f"{where}: static fields",
                wanted="hashable values (ints, strings, tuples, functions)",
                got=str(error),
                fix="Make the field a tuple, or drop `static=True` if it holds arrays.",
            )
        ) from error
