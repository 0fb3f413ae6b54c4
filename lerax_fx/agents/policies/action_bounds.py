"""The bounds that real-valued actions stay within."""

import math
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from lerax_fx.agents.policies.squashed_normal import Bounds
from lerax_fx.environments.spaces import Box, Space
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Scalar


@final
class ActionBounds(eqx.Module):
    """The bounds of a `Box`. All of it is structure: an optimiser that decays weights must not
    move them.

    - `shape`: of an action.
    - `low`, `high`: nested tuples of floats of that shape.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    low: Bounds = eqx.field(static=True)
    high: Bounds = eqx.field(static=True)

    @property
    def size(self) -> int:
        """How many numbers an action has."""
        return math.prod(self.shape)

    @property
    def lowest(self) -> Float[np.ndarray, "..."]:
        """The lower bounds as an array."""
        return np.asarray(self.low, np.float32)

    @property
    def highest(self) -> Float[np.ndarray, "..."]:
        """The upper bounds as an array."""
        return np.asarray(self.high, np.float32)

    @property
    def center(self) -> Float[np.ndarray, "..."]:
        """What lies between them."""
        return np.asarray((self.highest + self.lowest) / 2)

    @property
    def half_width(self) -> Float[np.ndarray, "..."]:
        """Half the distance between them."""
        return np.asarray((self.highest - self.lowest) / 2)

    @property
    def log_volume(self) -> Scalar:
        """The log of the volume between them, in units of that of `[-1, 1]` in each number:
        what entropies gain by the scale of the actions.
        """
        return jnp.asarray(np.log(self.half_width).sum())

    def scaled(self, unit: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """From `[-1, 1]` to the bounds."""
        return self.clipped(jnp.asarray(self.center + self.half_width * unit))

    def unscaled(self, action: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """From the bounds to `[-1, 1]`."""
        return (action - self.center) / self.half_width

    def clipped(self, action: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The nearest action within the bounds."""
        return jnp.clip(action, self.lowest, self.highest)


def action_bounds(where: str, space: Space, *, otherwise: str = "") -> ActionBounds:
    """The bounds of a space of actions; `otherwise` is what the caller takes besides a `Box`,
    for the message.

    **Raises:** `WiringError` unless it is a `Box` of floats with known, finite bounds.
    """
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        known = not (isinstance(space.low, Tracer) or isinstance(space.high, Tracer))
        if known and space.bounded and bool(np.all(np.asarray(space.low < space.high))):
            low, high = np.asarray(space.low, float), np.asarray(space.high, float)
            return ActionBounds(space.shape, _as_tuples(low.tolist()), _as_tuples(high.tolist()))
    raise WiringError(
        explain(
            f"{where}: actions",
            wanted=f"{otherwise}a Box of floats with finite bounds that are known, the lower "
            "below the upper",
            got=f"{space!r}",
            fix="Pick an environment with real-valued actions, or an algorithm for discrete "
            "ones, such as recipes.dqn.",
        )
    )


def _as_tuples(value: Any) -> Bounds:
    if isinstance(value, list):
        return tuple(_as_tuples(each) for each in value)  # pyright: ignore[reportUnknownVariableType] -- nested lists
    return float(value)
