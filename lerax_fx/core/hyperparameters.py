"""Which parts of an algorithm are numbers to be traced, and which are its structure.

An algorithm is a PyTree. Its floats and arrays are hyperparameters: they enter compiled
code as arguments, so a new value costs no compilation, they can be vmapped over, and
gradients reach them. Ints, bools, strings and functions are structure.

Optax builds its transformations as closures: in `optax.adam(3e-4)` the number sits in a
cell of a function, where no PyTree can see it. `partition` opens functions that Optax
made (and the few objects that it holds some in), takes the numbers out of their cells, and
`combine` makes the same functions again around other numbers. So `optax.adam(3e-4)` and
`optax.adam(1e-4)` share one compiled program, with no wrapper around either. Functions from
anywhere else stay closed.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CellType, FunctionType, MethodType
from typing import Any, TypeGuard

import jax
import numpy as np

from lerax_fx.errors import HyperparameterError, explain

_OPENED_PACKAGES = ("optax",)

# Optax asks in Python what these floats are, which a tracer cannot say: they are structure.
_ASKED_IN_PYTHON = {"scale_by_sm3.<locals>._new_accum": "b2"}


@dataclass(frozen=True)
class Structure:
    """Everything about a PyTree but the numbers in it: hashable, comparable."""

    treedef: Any
    slots: tuple[Any, ...]

    @functools.cached_property
    def only_numbers(self) -> bool:
        """Whether every leaf is a hyperparameter: then these are the leaves, in order."""
        return all(isinstance(slot, _Number) for slot in self.slots)


def partition(tree: Any) -> tuple[list[Any], Structure]:
    """Split a PyTree into its hyperparameters and its structure.

    **Returns:**

    The floats and arrays, in order, and a hashable [`Structure`][]. Two algorithms built
    by the same code with other numbers have equal structures.

    **Raises:** `HyperparameterError` if a static field of a module cannot be hashed.
    """
    named, structure = _split(tree, "", ())
    _require_hashable(structure)
    return [value for _, value in named], structure


def numbers_in(tree: Any, structure: Structure) -> list[Any]:
    """What [`partition`][] finds in a PyTree that is known to be of this structure.

    Where every leaf is a number it takes 16 us for PPO's agent instead of 38, and that is paid
    in each step of a run that is called from Python.
    """
    return jax.tree.leaves(tree) if structure.only_numbers else partition(tree)[0]


def combine(numbers: list[Any], structure: Structure) -> Any:
    """The inverse of [`partition`][]."""
    if structure.only_numbers:
        return jax.tree.unflatten(structure.treedef, numbers)
    return _rebuild(structure, iter(numbers))


def named_hyperparameters(tree: Any) -> dict[str, Any]:
    """The floats and arrays of a PyTree under readable names, closures of Optax included."""
    named, _ = _split(tree, "", ())
    return {name.lstrip("./"): value for name, value in named}


def is_hyperparameter(value: Any) -> bool:
    """Whether a leaf is traced: a float, a complex number, or an array."""
    if isinstance(value, np.generic):
        return isinstance(value, np.inexact)
    return isinstance(value, float | complex | np.ndarray | jax.Array)


@dataclass(frozen=True)
class _Number:
    """Where a hyperparameter was."""


class _Constant:
    """A leaf that belongs to the structure.

    Compared with its type, because `1 == True` and both are legal structure; by identity
    where the value cannot be hashed, which costs a compilation at worst.
    """

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Constant) or type(self.value) is not type(other.value):
            return False
        if self.value is other.value:
            return True
        return _hashable(self.value) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value) if _hashable(self.value) else id(self.value)


class _Closure:
    """A function that was opened: its code, and the structure of what its cells hold."""

    def __init__(self, function: FunctionType, cells: Structure):
        self.function = function
        self.cells = cells

    def _key(self) -> tuple[Any, ...]:
        function = self.function
        defaults = *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()
        constants = map(_Constant, defaults)
        return function.__code__, id(function.__globals__), *constants, self.cells

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Closure) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def rebuild(self, contents: dict[str, Any]) -> FunctionType:
        old = self.function
        names = old.__code__.co_freevars
        cells = tuple(CellType(contents[n]) if n in contents else CellType() for n in names)
        new = FunctionType(old.__code__, old.__globals__, old.__name__, old.__defaults__, cells)
        new.__kwdefaults__ = old.__kwdefaults__
        new.__dict__.update(old.__dict__)
        return new


@dataclass(frozen=True)
class _Made:
    """Something else that was opened: what makes it again, and of what parts."""

    make: Callable[..., Any]
    parts: Structure


_Named = list[tuple[str, Any]]


def _split(tree: Any, path: str, opened: tuple[int, ...]) -> tuple[_Named, Structure]:
    leaves, treedef = jax.tree_util.tree_flatten_with_path(tree)
    numbers: _Named = []
    slots: list[Any] = []
    for entries, leaf in leaves:
        name = path + _readable(entries)
        found, slot = _split_leaf(leaf, name, opened)
        numbers.extend(found)
        slots.append(slot)
    return numbers, Structure(treedef, tuple(slots))


def _split_leaf(leaf: Any, name: str, opened: tuple[int, ...]) -> tuple[_Named, Any]:
    if is_hyperparameter(leaf):
        return [(name, leaf)], _Number()
    if isinstance(leaf, _Constant):
        return [], leaf
    # A function may hold itself in a cell (recursion): it is opened once on a path.
    if id(leaf) in opened:
        return [], _Constant(leaf)
    opened = (*opened, id(leaf))
    if _is_optax(leaf):
        found, structure = _split(_contents(leaf), name, opened)
        return found, _Closure(leaf, structure)
    if taken := _taken_apart(leaf):
        make, parts = taken
        found, structure = _split(parts, name, opened)
        return found, _Made(make, structure)
    return [], _Constant(leaf)


def _contents(function: FunctionType) -> dict[str, Any]:
    """What the cells of a function hold, by variable."""
    contents: dict[str, Any] = {}
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        # A variable that only one branch assigns leaves an empty cell in the other.
        with contextlib.suppress(ValueError):
            value = cell.cell_contents
            asked = _ASKED_IN_PYTHON.get(function.__qualname__) == name
            contents[name] = _Constant(value) if asked else value
    return contents


def _taken_apart(value: Any) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """How to make a partial, a method or an object of Optax: of which parts, by what."""
    if isinstance(value, functools.partial) and _is_optax(value.func):
        return _partial, (value.func, value.args, value.keywords)  # pyright: ignore[reportUnknownMemberType] -- a partial's parts are untyped
    if isinstance(value, MethodType) and _is_optax(value.__func__):
        return MethodType, (value.__func__, value.__self__)
    if _made_by_optax(type(value)):
        return _object, (type(value), vars(value))
    return None


def _partial(
    function: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]
) -> Callable[..., Any]:
    return functools.partial(function, *args, **keywords)


def _object(cls: type, attributes: dict[str, Any]) -> Any:
    new = object.__new__(cls)
    vars(new).update(attributes)
    return new


def _readable(entries: tuple[Any, ...]) -> str:
    parts: list[str] = []
    for entry in entries:
        key = getattr(entry, "name", getattr(entry, "key", getattr(entry, "idx", entry)))
        parts.append(f"/{key}")
    return "".join(parts)


def _is_optax(value: Any) -> TypeGuard[FunctionType]:
    return isinstance(value, FunctionType) and _made_by_optax(value)


def _made_by_optax(thing: FunctionType | type) -> bool:
    return (thing.__module__ or "").split(".")[0] in _OPENED_PACKAGES


def _rebuild(structure: Structure, numbers: Iterator[Any]) -> Any:
    leaves = [_rebuild_leaf(slot, numbers) for slot in structure.slots]
    return jax.tree.unflatten(structure.treedef, leaves)


def _rebuild_leaf(slot: Any, numbers: Iterator[Any]) -> Any:
    match slot:
        case _Number():
            return next(numbers)
        case _Constant():
            return slot.value
        case _Closure():
            return slot.rebuild(_rebuild(slot.cells, numbers))
        case _Made():
            return slot.make(*_rebuild(slot.parts, numbers))
        case _:
            raise AssertionError(f"unknown slot {slot!r}")


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _require_hashable(structure: Structure) -> None:
    try:
        hash(structure.treedef)
    except TypeError as error:
        raise HyperparameterError(
            explain(
                "algorithm: static fields",
                wanted="hashable values (ints, strings, tuples, functions)",
                got=str(error),
                fix="Make the field a tuple, or drop `static=True` if it holds arrays.",
            )
        ) from error
