"""Checks of arguments and hyperparameters."""

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_args, get_type_hints, is_typeddict

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lerax_fx._core.calls import takes_one_argument
from lerax_fx._core.schedules import as_schedule
from lerax_fx._typecheck import enabled
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.typing import Interval

P = ParamSpec("P")
R = TypeVar("R")

if TYPE_CHECKING:

    def unchecked(function: Callable[P, R]) -> Callable[P, R]:
        """Keep the runtime type checkers from a function: typeguard cannot read
        `Concatenate`, and takes a `ParamSpec` for a function without keywords.
        """
        return function

else:
    # Static checkers drop the types of what `typing.no_type_check` decorates.
    from typing import no_type_check as unchecked


def check_number(where: str, value: Any, interval: Interval, *, schedule: bool = False) -> Any:
    """Check one hyperparameter, and make it a float so that it is traced.

    An array passes if all of it lies in the interval (a batch of hyperparameters, to be vmapped
    over). The value of a tracer is not known yet: where the runtime type checks are on, it is
    checked when the program runs, which an error of Equinox's ends; where they are off, it
    passes.

    **Arguments:**

    - `schedule`: whether a schedule, or a function of a count, will do as well; what it will
      give is not known either.

    **Raises:** `HyperparameterError`.
    """
    if isinstance(value, Tracer):
        return _checked_when_run(where, value, interval) if enabled() else value
    if schedule and callable(value) and takes_one_argument(value):
        return as_schedule(value)
    if isinstance(value, bool) or not _is_real(value):
        raise HyperparameterError(
            format_error(
                where,
                wanted=str(interval),
                got=f"{value!r} of type {type(value).__name__}",
                fix="Pass a float or an array.",
            )
        )
    if not np.all(interval.contains(np.asarray(value))):
        raise HyperparameterError(
            format_error(where, wanted=str(interval), got=f"{value}", fix="Pass another value.")
        )
    # An int would be structure, and every new value a new compilation.
    return float(value) if isinstance(value, int) else value


def _checked_when_run(where: str, value: Any, interval: Interval) -> Any:
    message = format_error(
        where, wanted=str(interval), got="another, in a traced array", fix="Check what is traced."
    )
    return eqx.error_if(value, jnp.any(~interval.contains(value)), message)


def _is_real(value: Any) -> bool:
    """Whether it is a number or an array of numbers, not of bools, words or complex numbers."""
    if not isinstance(value, np.ndarray | np.generic | jax.Array):
        return isinstance(value, int | float)
    return any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer))


def check_key(where: str, key: Any) -> Any:
    """**Raises:** `WiringError` if `key` is not one random key, typed or raw."""
    dtype, shape = getattr(key, "dtype", None), np.shape(key)
    if dtype is not None:
        if jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
            return key
        if dtype == np.uint32 and len(shape) == 1:
            return key
    got = f"an array of shape {shape}" if dtype is not None else f"{key!r:.80}"
    raise WiringError(
        format_error(
            where,
            wanted="one random key",
            got=got,
            fix="Pass jax.random.key(seed); for many, jax.vmap over jax.random.split(key, n).",
        )
    )


def check_constant(where: str, value: Any, interval: Interval) -> float:
    """A number that is part of an agent's structure, which an optimiser must not move.

    **Raises:** `HyperparameterError` for anything but a finite Python number in the interval.
    """
    if isinstance(value, int | float) and math.isfinite(value):
        return float(check_number(where, value, interval))
    raise HyperparameterError(
        format_error(
            where,
            wanted="a finite Python number, which is a constant of the agent",
            got=f"{value!r}",
            fix="Pass a float, and make an agent for each value instead of vmapping over it.",
        )
    )


def check_flag(where: str, value: Any) -> bool:
    """**Raises:** `HyperparameterError` if `value` is not a Python bool."""
    if isinstance(value, bool):
        return value
    raise HyperparameterError(
        format_error(where, wanted="True or False", got=f"{value!r}", fix="Pass a Python bool.")
    )


def check_count(where: str, value: Any, *, at_least: int = 1) -> int:
    """Check a structural size: a Python int of at least `at_least`.

    **Raises:** `HyperparameterError`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise HyperparameterError(
            format_error(
                where,
                wanted=f"an int of at least {at_least}",
                got=f"{value!r}",
                fix="Sizes and counts are Python ints: they shape the program.",
            )
        )
    return int(value)


def check_counts(where: str, values: Any) -> tuple[int, ...]:
    """Check several sizes: a sequence of Python ints of at least 1.

    **Raises:** `HyperparameterError`.
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise HyperparameterError(
            format_error(
                where,
                wanted="a sequence of ints",
                got=f"{values!r}",
                fix="Pass a tuple, such as (64, 64).",
            )
        )
    return tuple(check_count(f"{where}[{i}]", value) for i, value in enumerate(values))


def declared_intervals(function: Callable[..., Any]) -> dict[str, Interval]:
    """The intervals that a function's annotations declare, by argument."""
    return _intervals(get_type_hints(function, include_extras=True))


def _intervals(hints: Mapping[str, Any]) -> dict[str, Interval]:
    intervals: dict[str, Interval] = {}
    for name, hint in hints.items():
        for option in (hint, *get_args(hint)):  # `Positive | None` declares one as well
            for extra in getattr(option, "__metadata__", ()):
                if isinstance(extra, Interval):
                    intervals[name] = extra
    return intervals


def check_one_number(where: str, value: Any) -> None:
    """**Raises:** `WiringError` for an array of hyperparameters in a program that runs once: it
    would be broadcast against the data.
    """
    if np.shape(value) != ():
        raise WiringError(
            format_error(
                where,
                wanted="one number",
                got=f"an array of shape {np.shape(value)}",
                fix="Pass a float; to train with many values, jax.vmap over what makes the "
                "algorithm of one of them and trains.",
            )
        )


def check_hyperparameters(where: str, stage: eqx.Module, inner: Callable[[Any], bool]) -> None:
    """Check that what the annotations of a stage declare as numbers are single ones, also in the
    modules that it is made of; `inner` tells those that are checked by themselves.

    **Raises:** `WiringError`.
    """
    annotations = {field.name: field.type for field in fields(stage)}
    for name in _intervals(annotations):
        check_one_number(f"{where}: {name}", getattr(stage, name))
    made: Any = stage
    if {"function", "hyperparameters"} <= set(annotations):  # of a function that became a stage
        for name in declared_intervals(made.function):
            if name in made.hyperparameters:
                check_one_number(f"{where}: {name}", made.hyperparameters[name])

    def other(node: Any) -> bool:
        return isinstance(node, eqx.Module) and node is not stage

    for part in jax.tree.leaves(stage, is_leaf=other):
        if other(part) and not inner(part):
            check_hyperparameters(where, part, inner)


def keyword_names(function: Callable[..., Any]) -> list[str]:
    """The names that a function takes arguments by, in order.

    Where it ends in `**settings: Unpack[Settings]`, these are the keys of that `TypedDict`.
    """
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            names += [name for hint in get_args(parameter.annotation) for name in _keys(hint)]
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            names.append(parameter.name)
    return names


def _keys(hint: Any) -> list[str]:
    return list(hint.__annotations__) if is_typeddict(hint) else []


@unchecked
def suggest_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Raise errors for people where a keyword is misspelt, where what is keyword-only is passed by
    position, and where `key` is no random key.

    Python's own says that the keyword is unexpected; this one says which was probably
    meant. **Raises:** `HyperparameterError`, `WiringError`.
    """
    parameters = inspect.signature(function).parameters
    known = keyword_names(function)
    keywords = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    positional = [name for name, p in parameters.items() if p.kind not in keywords]
    # Every recipe has a `make`: the module's name says which.
    module, name = function.__module__, function.__name__
    where = name if module.startswith("lerax_fx") else f"{module}.{name}"

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        check_names(where, kwargs, known)
        if len(args) > len(positional):
            raise _too_many(where, len(args), known, positional)
        if "key" in kwargs and kwargs["key"] is not parameters["key"].default:
            check_key(f"{where}: key", kwargs["key"])
        return function(*args, **kwargs)

    return checked


def _too_many(where: str, got: int, known: list[str], positional: list[str]) -> Exception:
    written = [*positional, *(f"{name}=..." for name in known if name not in positional)]
    return HyperparameterError(
        format_error(
            where,
            wanted="keyword arguments" + (f" after {', '.join(positional)}" if positional else ""),
            got=f"{got} positional",
            fix=f"Write {where}({', '.join(written)}).",
        )
    )


def bind_hyperparameters(
    name: str,
    function: Callable[..., Any],
    skip: int,
    args: tuple[Any, ...],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """All hyperparameters of `function` (its arguments after the first `skip`), checked.

    **Raises:** `HyperparameterError` for a name that the function does not have, with the
    nearest one that it has; for a missing one; for a value outside its interval.
    """
    parameters = list(inspect.signature(function).parameters.values())[skip:]
    if args:
        raise HyperparameterError(
            format_error(
                name,
                wanted="keyword arguments only",
                got=f"{len(args)} positional",
                fix=f"Write {name}({', '.join(f'{p.name}=...' for p in parameters)}).",
            )
        )
    check_names(name, given, [parameter.name for parameter in parameters])
    intervals = declared_intervals(function)
    bound: dict[str, Any] = {}
    for parameter in parameters:
        value = given.get(parameter.name, parameter.default)
        if value is inspect.Parameter.empty:
            raise HyperparameterError(
                format_error(
                    f"{name}: {parameter.name}",
                    wanted="a value (it has no default)",
                    got="none",
                    fix=f"Pass {name}({parameter.name}=...).",
                )
            )
        if parameter.name in intervals and value is not None:
            where = f"{name}: {parameter.name}"
            value = check_number(where, value, intervals[parameter.name], schedule=True)
        bound[parameter.name] = value
    return bound


def check_names(where: str, given: Mapping[str, Any], known: list[str]) -> None:
    """Reject a misspelt keyword, with the one that was probably meant.

    **Raises:** `HyperparameterError`.
    """
    for keyword in given:
        if keyword not in known:
            near = difflib.get_close_matches(keyword, known, n=1)
            raise HyperparameterError(
                format_error(
                    f"{where}: {keyword}",
                    wanted=f"one of {', '.join(known)}" if known else "no arguments",
                    got=f"an unknown name, {keyword!r}",
                    fix=f"Did you mean {near[0]!r}?" if near else "Take it out.",
                )
            )
