"""Times and scales of observations in continuous time."""

from typing import Any, cast, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from lerax_fx.data import Timed
from lerax_fx.errors import WiringError, format_error
from lerax_fx.spaces import Box, Space
from lerax_fx.typing import Scalar, Tree


def split_time(observation: Tree) -> tuple[Tree, Scalar]:
    """The observation and the time since the one before: `dt` of a [`Timed`][lerax_fx.data.Timed],
    1 for any other observation.
    """
    if isinstance(observation, Timed):
        return observation.value, observation.dt
    return observation, jnp.ones(())


def possible_length(dt: Float[Array, "*time"]) -> Float[Array, "*time"]:
    """A length of time, or 0 where it is negative or not finite."""
    return jnp.where((dt >= 0) & jnp.isfinite(dt), dt, 0.0)


def value_space(space: Any) -> Any:
    """The space of the observations themselves: the `value` of a space of `Timed` observations."""
    return getattr(space, "value", space)


@final
class Scaling(eqx.Module):
    """An affine map between arrays of a `Box` and vectors, with the bounds at -1 and 1. A
    number without two finite bounds stays as it is.

    All of it is structure: an optimiser that decays weights must not move it.

    - `shape`: of an array.
    - `center`, `half_width`: of the bounds, flat.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    center: tuple[float, ...] = eqx.field(static=True)
    half_width: tuple[float, ...] = eqx.field(static=True)

    @property
    def size(self) -> int:
        """The number of entries of an array."""
        return len(self.center)

    def scale(self, x: Float[Array, "*shape"]) -> Float[Array, " size"]:
        """An array as a vector."""
        return (jnp.ravel(x) - np.asarray(self.center)) / np.asarray(self.half_width)

    def unscale(self, vector: Float[Array, " size"]) -> Float[Array, "*shape"]:
        """The inverse of `scale`."""
        flat = vector * np.asarray(self.half_width) + np.asarray(self.center)
        return flat.reshape(self.shape)


def box_scaling(where: str, space: Space) -> Scaling:
    """The scaling of an observation space.

    **Raises:** `WiringError` unless it is a `Box` of floats with bounds that are known.
    """
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating) and space.flat_size > 0:
        known = not (isinstance(space.low, Tracer) or isinstance(space.high, Tracer))
        if known:
            return _of_bounds(space)
    raise WiringError(
        format_error(
            f"{where}: observations",
            wanted="a Box of floats whose bounds are known",
            got=f"{space!r}",
            fix="Give the environment observations of floats, for instance with "
            "fx.envs.FlattenObservation (which leaves bytes as they are), or make the agent "
            "outside of "
            "jit and vmap.",
        )
    )


def _of_bounds(space: Box) -> Scaling:
    low, high = np.ravel(space.low).astype(float), np.ravel(space.high).astype(float)
    # Many environments write the largest float for infinity.
    unbounded = float(cast(Any, np.finfo(space.dtype)).max)
    bounded = (np.abs(low) < unbounded) & (np.abs(high) < unbounded) & (low < high)
    low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
    return Scaling(space.shape, _floats((high + low) / 2), _floats((high - low) / 2))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
