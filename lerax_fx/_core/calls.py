"""Checks of the functions that users pass, before they are called."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lerax_fx.errors import HyperparameterError, format_error


def takes_one_argument(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with one argument, as a schedule or an activation is; an
    exploration cannot.
    """
    return _refusal(function, (None,), {}) is None


def check_call(
    where: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """**Raises:** `HyperparameterError` for arguments that a function cannot be called with."""
    reason = _refusal(function, args, kwargs)
    if reason is None:
        return
    name = getattr(function, "__name__", type(function).__name__)
    known = ", ".join(inspect.signature(function).parameters)
    raise HyperparameterError(
        format_error(
            f"{where}: {name}",
            wanted=f"the arguments that it takes, ({known})",
            got=reason.removeprefix("got "),
            fix=f"Write fx.{where}({name}, ...) with the arguments of {name}.",
        )
    )


def _refusal(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> str | None:
    """Why a function cannot be called with these arguments, if it cannot."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    except ValueError:  # of a built-in function, which shows no signature
        return None
    return None
