"""Observation wrappers: flatten, select, mask."""

import difflib
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, Final, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Num

from lerax_fx.data import Timed
from lerax_fx.envs.env import Env
from lerax_fx.envs.registry import make
from lerax_fx.envs.timed_space import TimedSpace
from lerax_fx.envs.wrappers import AbstractEnclosing, AbstractWrapper
from lerax_fx.errors import EnvironmentSetupError, HyperparameterError, format_error
from lerax_fx.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from lerax_fx.typing import Tree


@final
class FlattenObservation(AbstractWrapper):
    """Flatten observations to vectors.

    - A `Box` of bytes (uint8) stays one, with its bounds: agents bring it to [0, 1], flattened
      or not, and a replay buffer holds it in a quarter of the memory of floats.
    - Anything else becomes floats, by its space's `flatten`: the parts of a `Dict` (in the
      order of its sorted keys) or of a `Tuple` one after another, `Discrete` ones one-hot,
      bytes among them brought to [0, 1]. Each part is what an agent would make of it alone.
    - Of [`Timed`][lerax_fx.data.Timed] observations the value becomes a vector; `dt` stays apart,
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


@final
class SelectObservation(AbstractWrapper):
    """Select entries of each observation, which makes the environment partially observable.

    **Arguments:**

    - `env`: an `Env`, or what [`make`][lerax_fx.make] makes one of. Its observations must
      be vectors.
    - `indices`: the entries that are kept, in this order, each at most once.

    **Raises:** `EnvironmentSetupError` for observations that are no vectors;
    `HyperparameterError` for indices that such a vector does not have.
    """

    env: Env
    indices: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, env: Any, indices: Iterable[int]):
        self.env = make(env)
        self.indices = _checked(indices, _vector(self.env).flat_size)

    def wrap_observation_space(self, space: Space) -> Box:
        vector = _vector(self.env)
        kept = np.asarray(self.indices)
        return Box(vector.low[kept], vector.high[kept], dtype=vector.dtype)

    def wrap_observation(self, memory: Tree, observation: Num[Array, " size"]) -> Num[Array, " n"]:
        del memory
        return observation[np.asarray(self.indices)]


def _vector(env: Env) -> Box:
    space = env.observation_space
    if isinstance(space, Box) and len(space.shape) == 1:
        return space
    raise EnvironmentSetupError(
        format_error(
            "SelectObservation: env",
            wanted="observations that are vectors (a Box of one axis)",
            got=f"{env.name} with {space!r}",
            fix="Wrap it in fx.envs.FlattenObservation first, and in fx.envs.IrregularTime "
            "afterwards.",
        )
    )


def _checked(wanted: Any, size: int) -> tuple[int, ...]:
    several = isinstance(wanted, Iterable) and getattr(wanted, "ndim", 1) > 0
    indices: tuple[Any, ...] = tuple(wanted) if several else (None,)
    whole = all(isinstance(i, int | np.integer) and not isinstance(i, bool) for i in indices)
    if whole and indices and len(set(indices)) == len(indices) and set(indices) <= set(range(size)):
        return tuple(map(int, indices))
    raise HyperparameterError(
        format_error(
            "SelectObservation: indices",
            wanted=f"one or more different ints from 0 to {size - 1}",
            got=f"{wanted!r}",
            fix="Name the entries of the observation that are to be kept.",
        )
    )


# How many entries an observation has, and which of them are velocities.
_VELOCITIES: Final = MappingProxyType(
    {
        "CartPole-v1": (4, (1, 3)),
        "Pendulum-v1": (3, (2,)),
        "Acrobot-v1": (6, (4, 5)),
        "MountainCar-v0": (2, (1,)),
        "MountainCarContinuous-v0": (2, (1,)),
    }
)


def mask_velocities(env: Any) -> SelectObservation:
    """Mask the velocities in an environment's observations, which makes it partially observable.

    Of CartPole-v1 that leaves the position and the angle; of Pendulum-v1 cosine and sine of
    its angle; of Acrobot-v1 those of its two; of MountainCar-v0 and
    MountainCarContinuous-v0 the position.

    **Arguments:**

    - `env`: one of these, or what [`make`][lerax_fx.make] makes one of; wrappers around it
      are fine that leave each entry of its observations in its place.

    **Raises:** `EnvironmentSetupError` for another environment, for observations of another
    size than its own, or of which entries were already selected.
    """
    env = make(env)
    name = _innermost(env).name
    if name not in _VELOCITIES:
        near = difflib.get_close_matches(name, _VELOCITIES, n=1)
        raise EnvironmentSetupError(
            format_error(
                "mask_velocities: env",
                wanted=f"one of {', '.join(_VELOCITIES)}",
                got=env.name,
                fix=(f"Did you mean {near[0]!r}? Else n" if near else "N")
                + "ame the entries to keep: fx.envs.SelectObservation(env, indices).",
            )
        )
    size, velocities = _VELOCITIES[name]
    space = env.observation_space
    whole = isinstance(space, Box) and space.shape == (size,)
    if not whole or _selects(env):
        raise EnvironmentSetupError(
            format_error(
                "mask_velocities: env",
                wanted=f"the {size} numbers that {name} is observed by",
                got=f"{env.name} with {space!r}",
                fix="Mask velocities first, and put other wrappers around that.",
            )
        )
    return SelectObservation(env, [i for i in range(size) if i not in velocities])


def _selects(env: Env) -> bool:
    """Whether entries may be in other places: those of a `SelectObservation` may."""
    while isinstance(env, AbstractEnclosing):
        if isinstance(env, SelectObservation):
            return True
        env = env.env
    return False


def _innermost(env: Env) -> Env:
    while isinstance(env, AbstractEnclosing):
        env = env.env
    return env
