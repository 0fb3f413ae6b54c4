"""What values a hyperparameter may have, said once in its annotation."""

from collections.abc import Callable, Sequence
from typing import Any, get_args, get_type_hints

import jax
import numpy as np
from jax.core import Tracer

from lerax_fx._core.schedules import as_schedule
from lerax_fx.errors import HyperparameterError, format_error
from lerax_fx.typing import Interval


def check_number(where: str, value: Any, interval: Interval, *, schedule: bool = False) -> Any:
    """Check one hyperparameter and make a float of it, so that it is traced.

    The value of a tracer is not known: it passes. An array passes if all of it lies in the
    interval (a batch of hyperparameters, to be vmapped over).

    **Arguments:**

    - `schedule`: whether a schedule, or a function of a count, will do as well; what it will
      give is not known either.

    **Raises:** `HyperparameterError`.
    """
    if isinstance(value, Tracer):
        return value
    if schedule and callable(value):
        return as_schedule(value)
    if isinstance(value, bool) or not isinstance(
        value, int | float | np.ndarray | np.generic | jax.Array
    ):
        raise HyperparameterError(
            format_error(
                where,
                wanted=str(interval),
                got=f"{value!r} of type {type(value).__name__}",
                fix="Pass a float or an array.",
            )
        )
    if not interval.contains(np.asarray(value)):
        raise HyperparameterError(
            format_error(where, wanted=str(interval), got=f"{value}", fix="Pass another value.")
        )
    # An int would be structure, and every new value a new compilation.
    return float(value) if isinstance(value, int) else value


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
    hints = get_type_hints(function, include_extras=True)
    intervals: dict[str, Interval] = {}
    for name, hint in hints.items():
        for option in (hint, *get_args(hint)):  # `Positive | None` declares one as well
            for extra in getattr(option, "__metadata__", ()):
                if isinstance(extra, Interval):
                    intervals[name] = extra
    return intervals
