"""Keyword arguments, checked against a signature with errors for people."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from lerax_fx._core.bounds import check_number, declared_intervals
from lerax_fx._core.unchecked import unchecked
from lerax_fx.errors import HyperparameterError, format_error

P = ParamSpec("P")
R = TypeVar("R")


@unchecked
def suggest_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Give a function an error for people where a keyword of it is misspelt.

    Python's own says that the keyword is unexpected; this one says which was probably
    meant. **Raises:** `HyperparameterError`.
    """
    known = list(inspect.signature(function).parameters)
    # Recipes are all called `make`: there the module's name says which.
    module = function.__module__
    where = function.__name__ if module.startswith("lerax_fx") else f"{module}.make"

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        check_names(where, kwargs, known)
        return function(*args, **kwargs)

    return checked


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
