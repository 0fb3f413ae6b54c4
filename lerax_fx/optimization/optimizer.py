"""Optax optimisers whose numbers are hyperparameters."""

from collections.abc import Callable
from typing import Any, Final, final

import equinox as eqx
import optax

from lerax_fx._core.schedules import EvaluatesSchedules, Schedule
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Tree

# Transformations that act on each number by itself, or on the norm of all of them: on one vector
# of all parameters they do the same.
_ELEMENTWISE: Final = frozenset(
    {
        optax.adabelief,
        optax.adagrad,
        optax.adam,
        optax.adamax,
        optax.amsgrad,
        optax.chain,
        optax.clip,
        optax.clip_by_global_norm,
        optax.nadam,
        optax.radam,
        optax.rmsprop,
        optax.scale,
        optax.scale_by_adam,
        optax.scale_by_learning_rate,
        optax.scale_by_radam,
        optax.scale_by_rms,
        optax.scale_by_schedule,
        optax.sgd,
        optax.trace,
    }
)


@final
class Optimizer(EvaluatesSchedules):
    """See [`optimizer`][lerax_fx.optimizer]."""

    function: Callable[..., optax.GradientTransformation] = eqx.field(static=True)
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def transformation(self) -> optax.GradientTransformation:
        """What Optax makes of it, around the numbers as they are now."""
        args = [_made(value) for value in self.args]
        kwargs = {name: _made(value) for name, value in self.kwargs.items()}
        return self.function(*args, **kwargs)

    @property
    def elementwise(self) -> bool:
        """Whether it is known to do the same on one vector of all parameters."""
        parts = (*self.args, *self.kwargs.values())
        return self.function in _ELEMENTWISE and all(
            part.elementwise if isinstance(part, Optimizer) else not callable(part)
            for part in parts
            if not isinstance(part, Schedule)
        )

    def __str__(self) -> str:
        parts = [_written(value) for value in self.args]
        parts += [f"{name}={_written(value)}" for name, value in self.kwargs.items()]
        return f"{self.function.__name__}({' '.join(parts)})"


def optimizer(
    function: Callable[..., optax.GradientTransformation], *args: Any, **kwargs: Any
) -> Optimizer:
    """An Optax optimiser whose floats are hyperparameters.

        optimizer(optax.adam, learning_rate=2.5e-4)
        clip = optimizer(optax.clip_by_global_norm, 0.5)
        optimizer(optax.chain, clip, optimizer(optax.adam, 1e-3))

    It is made within the traced program: a new learning rate costs no compilation, `vmap` runs
    over it, gradients reach it, and two optimisers built by the same code share one program.
    A plain `optax.adam(2.5e-4)` is taken by [`minimize`][lerax_fx.minimize] as well: its numbers
    are in closures, so it is structure, and each one that is made is compiled anew.

    **Arguments:**

    - `function`: of Optax's functions that make a gradient transformation, or one like them.
    - `args`, `kwargs`: what to call it with: numbers, schedules, other `optimizer`s. Ints, bools
      and functions are structure. A schedule counts gradient steps, as in Optax.

    **Raises:** `WiringError` if `function` cannot be called.
    """
    if callable(function) and not isinstance(function, optax.GradientTransformation):
        return Optimizer(function, args, kwargs)
    raise WiringError(
        explain(
            "optimizer: function",
            wanted="a function of Optax that makes an optimiser",
            got=f"{type(function).__name__}",
            fix="Write fx.optimizer(optax.adam, learning_rate=3e-4).",
        )
    )


def transformation_of(value: Tree) -> optax.GradientTransformation:
    """The gradient transformation of an optimiser of either kind."""
    return value.transformation if isinstance(value, Optimizer) else value


def _made(value: Any) -> Any:
    return value.transformation if isinstance(value, Optimizer) else value


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return getattr(value, "__name__", None) or str(value)
