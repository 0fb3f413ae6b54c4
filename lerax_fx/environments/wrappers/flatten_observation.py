"""Observations as vectors."""

from typing import Any, final

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Num

from lerax_fx.data.timed import Timed
from lerax_fx.environments.env import Env
from lerax_fx.environments.make import make
from lerax_fx.environments.spaces import (
    Box,
    Dict,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Space,
    Tuple,
)
from lerax_fx.environments.timed_space import TimedSpace
from lerax_fx.environments.wrappers.wrapper import AbstractWrapper
from lerax_fx.types import Tree


@final
class FlattenObservation(AbstractWrapper):
    """Give every observation as one vector.

    - A `Box` of bytes (uint8) stays one, with its bounds: agents bring it to [0, 1], flattened
      or not, and a replay buffer holds it in a quarter of the memory of floats.
    - Anything else becomes floats, by its space's `flatten`: the parts of a `Dict` (in the
      order of its sorted keys) or of a `Tuple` one after another, `Discrete` ones one-hot,
      bytes among them brought to [0, 1]. Each part is what an agent would make of it alone.
    - Of [`Timed`][lerax_fx.Timed] observations the value becomes a vector; `dt` stays apart,
      so that estimators still discount by it.

    Bounds are those of the parts.

    **Arguments:**

    - `env`: an `Env`, or what [`make`][lerax_fx.make] makes one of.
    """

    env: Env

    def __init__(self, env: Any):
        self.env = make(env)

    def wrap_observation_space(self, space: Space) -> Box | TimedSpace:
        if isinstance(space, TimedSpace):
            return TimedSpace(_flat_box(space.value), space.dt)
        return _flat_box(space)

    def wrap_observation(self, memory: Tree, observation: Tree) -> Num[Array, " size"] | Timed:
        del memory
        space = self.env.observation_space
        if isinstance(space, TimedSpace):
            return Timed(_flat(space.value, observation.value), observation.dt)
        return _flat(space, observation)


def _flat(space: Space, x: Tree) -> Num[Array, " size"]:
    return jnp.ravel(x) if _holds_bytes(space) else space.flatten(x)


def _flat_box(space: Space) -> Box:
    """The space of what `_flat` gives."""
    if isinstance(space, Box) and _holds_bytes(space):
        return Box(space.low.reshape(-1), space.high.reshape(-1), dtype=space.dtype)
    is_float = isinstance(space, Box) and jnp.issubdtype(space.dtype, jnp.floating)
    low, high = _flat_bounds(space)
    return Box(low, high, dtype=space.dtype if is_float else jnp.zeros(()).dtype)


def _holds_bytes(space: Space) -> bool:
    return isinstance(space, Box) and space.dtype == np.uint8


def _flat_bounds(space: Space) -> tuple[Any, Any]:
    """The bounds of what `space.flatten` gives, entry by entry."""
    match space:
        case Box():
            low, high = space.low.reshape(-1), space.high.reshape(-1)
            return (low / 255, high / 255) if _holds_bytes(space) else (low, high)
        case Discrete() | MultiDiscrete() | MultiBinary():
            return np.zeros(space.flat_size), np.ones(space.flat_size)
        case Tuple():
            return _joined(list(space.spaces))
        case Dict():
            return _joined(list(space.spaces.values()))
        case TimedSpace():
            return _joined([space.value, space.dt])
        case _:  # a space of somebody else's
            unbounded = np.full(space.flat_size, np.inf)
            return -unbounded, unbounded


def _joined(spaces: list[Space]) -> tuple[Any, Any]:
    sides = [_flat_bounds(space) for space in spaces]
    return _concatenate([low for low, _ in sides]), _concatenate([high for _, high in sides])


def _concatenate(parts: list[Any]) -> Any:
    """By numpy where all is known, as in `Box`."""
    traced = any(isinstance(part, Tracer) for part in parts)
    return (jnp if traced else np).concatenate([np.zeros(0), *parts])
