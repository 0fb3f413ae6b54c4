"""Observations of which only a part is seen."""

from collections.abc import Iterable
from typing import Any, final

import equinox as eqx
import numpy as np
from jaxtyping import Array, Num

from lerax_fx.environments.env import Env
from lerax_fx.environments.make import make
from lerax_fx.environments.spaces import Box, Space
from lerax_fx.environments.wrappers.wrapper import AbstractWrapper
from lerax_fx.errors import EnvironmentSetupError, HyperparameterError, explain
from lerax_fx.types import Tree


@final
class SelectObservation(AbstractWrapper):
    """Let only some entries of each observation be seen: what was a state is then only partly
    observed, and takes a memory to act well in.

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
        explain(
            "SelectObservation: env",
            wanted="observations that are vectors (a Box of one axis)",
            got=f"{env.name} with {space!r}",
            fix="Wrap it in fx.FlattenObservation first, and in fx.IrregularTime afterwards.",
        )
    )


def _checked(wanted: Any, size: int) -> tuple[int, ...]:
    indices: tuple[Any, ...] = tuple(wanted) if isinstance(wanted, Iterable) else (None,)
    whole = all(isinstance(i, int | np.integer) and not isinstance(i, bool) for i in indices)
    if whole and indices and len(set(indices)) == len(indices) and set(indices) <= set(range(size)):
        return tuple(map(int, indices))
    raise HyperparameterError(
        explain(
            "SelectObservation: indices",
            wanted=f"one or more different ints from 0 to {size - 1}",
            got=f"{wanted!r}",
            fix="Name the entries of the observation that are to be kept.",
        )
    )
