"""How agents read the time that passed."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.data.timed import Timed
from lerax_fx.types import Scalar, Tree


def split_time(observation: Tree) -> tuple[Tree, Scalar]:
    """What was observed, and how long ago the observation before it was: `dt` of a
    [`Timed`][lerax_fx.Timed], 1 for any other observation.
    """
    if isinstance(observation, Timed):
        return observation.value, observation.dt
    return observation, jnp.ones(())


def possible_length(dt: Float[Array, "*time"]) -> Float[Array, "*time"]:
    """The same, but 0 where it is below 0 or not finite: no time passes there."""
    return jnp.where((dt >= 0) & jnp.isfinite(dt), dt, 0.0)


def value_space(space: Any) -> Any:
    """The space of what is observed: the `value` of a space of `Timed` observations."""
    return getattr(space, "value", space)
