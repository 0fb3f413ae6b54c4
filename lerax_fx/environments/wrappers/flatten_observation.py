"""Observations as vectors."""

from typing import Any, final

from jaxtyping import Array, Float

from lerax_fx.environments.env import Env
from lerax_fx.environments.make import make
from lerax_fx.environments.spaces import Box, Space
from lerax_fx.environments.wrappers.wrapper import AbstractWrapper
from lerax_fx.types import Tree


@final
class FlattenObservation(AbstractWrapper):
    """Give every observation as one vector of floats, by its space's `flatten`.

    **Arguments:**

    - `env`: an `Env`, or what [`make`][lerax_fx.make] makes one of.
    """

    env: Env

    def __init__(self, env: Any):
        self.env = make(env)

    def wrap_observation_space(self, space: Space) -> Box:
        if isinstance(space, Box):
            return Box(space.low.reshape(-1), space.high.reshape(-1))
        return Box(-float("inf"), float("inf"), (space.flat_size,))

    def wrap_observation(self, memory: Tree, observation: Tree) -> Float[Array, " size"]:
        del memory
        return self.env.observation_space.flatten(observation)
