"""Types of arrays and hyperparameters, for annotations."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, ScalarLike

Key: TypeAlias = PRNGKeyArray
"""One random key, typed (`jax.random.key`) or raw (`jax.random.PRNGKey`)."""

Scalar: TypeAlias = Float[Array, ""]
"""A floating-point array of shape `()`."""

Flag: TypeAlias = Bool[Array, ""]
"""A boolean array of shape `()`."""

Count: TypeAlias = Int[Array, ""]
"""An integer array of shape `()`."""

Metrics: TypeAlias = dict[str, Array]
"""A flat dict of arrays, keyed `stage/name`, or by a plain name for what every run has."""

Tree: TypeAlias = Any
"""A PyTree of arrays whose structure is the caller's own: an agent, a memory, a state."""


@dataclass(frozen=True)
class Interval:
    """An interval of the reals, closed unless said otherwise."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __str__(self) -> str:
        if math.isinf(self.high):
            if math.isinf(self.low):
                return "a number"
            number = "a finite number" if self.open_high else "a number"
            return f"{number} {'>' if self.open_low else '>='} {self.low:g}"
        brackets = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"a number in {brackets[0]}{self.low:g}, {self.high:g}{brackets[1]}"

    def contains(self, value: Any) -> Any:
        """Whether each of the numbers of an array lies in the interval."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above & below


# At run time a schedule will do as well, where a stage takes it. Editors see a number, as which it
# reaches the stage; `fx.schedule` and `fx.anneal` are typed so that they are taken for one.
if TYPE_CHECKING:
    Hyperparameter: TypeAlias = ScalarLike
else:
    Hyperparameter = ScalarLike | Callable[[Any], Any]

Fraction = Annotated[Hyperparameter, Interval(0.0, 1.0)]
"""A float in [0, 1], or a schedule of one: a discount, a mixing weight."""

Positive = Annotated[Hyperparameter, Interval(0.0, open_low=True)]
"""A float above 0, or a schedule of one: a clipping range, a temperature."""

NonNegative = Annotated[Hyperparameter, Interval(0.0)]
"""A float of at least 0, or a schedule of one."""

Real = Annotated[Hyperparameter, Interval()]
"""Any float but NaN, or a schedule of one."""

__all__ = [
    "Count",
    "Flag",
    "Fraction",
    "Interval",
    "Key",
    "Metrics",
    "NonNegative",
    "Positive",
    "Real",
    "Scalar",
    "ScalarLike",
    "Tree",
]
