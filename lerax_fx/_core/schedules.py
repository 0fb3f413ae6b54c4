"""Hyperparameters that change over a run."""

import abc
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import ScalarLike

from lerax_fx._core.arrays import written
from lerax_fx._core.calls import check_call
from lerax_fx._core.transform import Transform
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.typing import Count, Scalar, Tree

M = TypeVar("M", bound=eqx.Module)


class Schedule(eqx.Module):
    """A hyperparameter as a function of a count, as in Optax. Its floats are hyperparameters."""

    @abc.abstractmethod
    def __call__(self, count: Any) -> Any:
        """The value after `count` updates (or steps, where the docs say so)."""


ScalarOrSchedule: TypeAlias = ScalarLike | Schedule | optax.Schedule
"""A number, or a schedule of one."""


@final
class ScheduleOf(Schedule):
    """See [`schedule`][lerax_fx.schedule]."""

    function: Callable[..., optax.Schedule] = eqx.field(static=True)
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self, count: Any) -> Any:
        return self.function(*self.args, **self.kwargs)(count)

    def __str__(self) -> str:
        parts = [written(value) for value in self.args]
        parts += [f"{name}={written(value)}" for name, value in self.kwargs.items()]
        return f"{self.function.__name__}({' '.join(parts)})"


@final
class FixedSchedule(Schedule):
    """An Optax schedule: its numbers are in a closure, and hence structure."""

    function: optax.Schedule = eqx.field(static=True)

    def __call__(self, count: Any) -> Any:
        return self.function(count)


@final
class ScaledSchedule(Schedule):
    """A schedule times a factor."""

    schedule: Schedule
    factor: ScalarLike

    def __call__(self, count: Any) -> Any:
        return self.factor * self.schedule(count)


class EvaluatesSchedules(eqx.Module):
    """A module that evaluates its own schedules, at another count than the updates of its stage:
    environment steps, gradient steps.
    """


# Typed as anything, so that editors take it wherever a hyperparameter is a float.
def schedule(function: Callable[..., optax.Schedule], *args: Any, **kwargs: Any) -> Any:
    """A schedule whose floats are hyperparameters.

        epsilon = schedule(optax.linear_schedule, 1.0, 0.05, transition_steps=250_000)

    Two of them made by the same function share one compiled program, `vmap` runs over their
    floats, and gradients reach these. Optax's own `optax.linear_schedule(...)` is taken
    wherever a schedule is as well, as structure: made again, it is compiled again.

    A schedule is taken wherever a hyperparameter is a float. It is evaluated at the number of
    updates that its stage has made, starting at 0; where the docs say so, at another count.

    **Arguments:**

    - `function`: of Optax's `*_schedule` functions, or any that returns a function of a count.
    - `args`, `kwargs`: what to call it with. Ints are structure.

    **Raises:** `HyperparameterError` if `function` cannot be called, or not with these arguments.
    """
    if not callable(function):
        raise HyperparameterError(
            format_error(
                "schedule: function",
                wanted="a function that makes a schedule",
                got=f"{function!r}",
                fix="Write fx.schedule(optax.linear_schedule, 1.0, 0.05, 10_000).",
            )
        )
    check_call("schedule", function, args, kwargs)
    return ScheduleOf(function, args, kwargs)


def as_schedule(value: Callable[..., Any]) -> Schedule:
    """A function of a count as a [`Schedule`][]."""
    return value if isinstance(value, Schedule) else FixedSchedule(value)


def scaled(value: Any, factor: Any) -> Any:
    """A number or a schedule times a factor; either may be the schedule."""
    if isinstance(factor, Schedule):
        value, factor = factor, value
    return ScaledSchedule(value, factor) if isinstance(value, Schedule) else factor * value


def value_at(where: str, value: ScalarOrSchedule, count: Count) -> Scalar:
    """The value of a number or a schedule after so many updates or steps.

    **Raises:** `WiringError` if a schedule gives something else than one number.
    """
    number = value(count) if callable(value) else value
    try:
        array = jnp.asarray(number)
    except (TypeError, ValueError):
        array = None
    if array is not None and array.shape == ():
        return array
    raise WiringError(
        format_error(
            where,
            wanted="a schedule that gives one number",
            got=f"{number!r}" if array is None else f"an array of shape {array.shape}",
            fix="Give an Optax schedule, such as optax.linear_schedule(1.0, 0.05, 10_000).",
        )
    )


def has_schedules(stage: Transform[Any, Any]) -> bool:
    """Whether a stage, without those within it, has schedules among its hyperparameters."""
    leaves = jax.tree.leaves(stage, is_leaf=_stops_at(stage))
    return any(isinstance(leaf, Schedule) for leaf in leaves)


def with_values(stage: M, count: Count) -> M:
    """A stage with its schedules evaluated.

    **Raises:** `WiringError` if a schedule gives something else than one number.
    """

    def value(leaf: Tree) -> Tree:
        name = getattr(stage, "name", type(stage).__name__)
        return value_at(f"{name}: schedule", leaf, count) if isinstance(leaf, Schedule) else leaf

    return jax.tree.map(value, stage, is_leaf=_stops_at(stage))


def _stops_at(stage: eqx.Module) -> Callable[[Any], bool]:
    def stop(node: Any) -> bool:
        inner = isinstance(node, Transform) and node is not stage
        return inner or isinstance(node, Schedule | EvaluatesSchedules)

    return stop
