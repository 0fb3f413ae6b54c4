"""What exploration is: another distribution to act by."""

import abc
from typing import Any, TypeAlias

import distrax
import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import ScalarLike

from lerax_fx.core.bounds import Interval, check_number
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Count, Scalar

Scheduled: TypeAlias = ScalarLike | optax.Schedule
"""A number, or an Optax schedule of one."""


class AbstractExploration(eqx.Module):
    """How to act instead of by the agent's own distribution."""

    @abc.abstractmethod
    def __call__(self, output: Any, steps: Count) -> distrax.Distribution:
        """The distribution to act by, in one environment.

        **Arguments:**

        - `output`: the agent's [`Output`][lerax_fx.Output], for one step.
        - `steps`: environment steps taken so far, of all environments.
        """


def check_scheduled(where: str, value: Any, interval: Interval) -> Any:
    """A number is checked; what a schedule will give is not known.

    **Raises:** `HyperparameterError`.
    """
    return value if callable(value) else check_number(where, value, interval)


def scheduled(where: str, value: Scheduled, steps: Count) -> Scalar:
    """The number after so many steps.

    **Raises:** `WiringError` if a schedule gives something else than a number.
    """
    number = value(steps) if callable(value) else value
    try:
        number = jnp.asarray(number)
    except (TypeError, ValueError):
        shape = None
    else:
        shape = number.shape
    if shape == ():
        return jnp.asarray(number)
    raise WiringError(
        explain(
            where,
            wanted="a schedule that gives one number",
            got=f"{number!r}" if shape is None else f"an array of shape {shape}",
            fix="Give an Optax schedule, such as optax.linear_schedule(1.0, 0.05, 10_000).",
        )
    )
