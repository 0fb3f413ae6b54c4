"""Agents with a memory that value actions, and take the best."""

from collections.abc import Callable
from typing import Any, final

import distrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.recurrent import GRU
from lerax_fx.types import Scalar, Tree


@final
class RecurrentQAgent(AbstractActorCritic):
    """Features of the observation go through a GRU, from whose memory actions are valued.

    Its policy takes the best action, whose value is the value of the observation.

    - `encoding`: of observations as floats.
    - `torso`: a module from the encoded observation to features.
    - `gru`: the memory, a vector that starts at zero.
    - `head`: a module from the memory to a number for each action.
    - `num_actions`: how many there are.
    """

    encoding: Encoding
    torso: Callable[..., Any]
    gru: GRU
    head: Callable[..., Any]
    num_actions: int = eqx.field(static=True)

    def initial_memory(self) -> Float[Array, " size"]:
        return self.gru.initial_memory()

    def step(
        self, memory: Float[Array, " size"], observation: Tree
    ) -> tuple[Float[Array, " size"], distrax.Distribution, Scalar]:
        memory = self.gru.advance(memory, self._drive(observation))
        return memory, *self._act(memory)

    def unroll(
        self, memory: Float[Array, " size"], observations: Tree, resets: Bool[Array, " time"]
    ) -> tuple[Float[Array, " size"], distrax.Distribution, Float[Array, " time"]]:
        drives = jax.vmap(self._drive)(observations)
        memory, memories = self.gru.unroll(memory, drives, resets)
        return memory, *jax.vmap(self._act)(memories)

    def _drive(self, observation: Tree) -> Float[Array, " gates"]:
        return self.gru.drive(self.torso(self.encoding(observation)))

    def _act(self, memory: Float[Array, " size"]) -> tuple[distrax.Distribution, Scalar]:
        values = self._values(memory)
        return distrax.Greedy(values, dtype=np.int32), values.max()

    def _values(self, memory: Float[Array, " size"]) -> Float[Array, "{self.num_actions}"]:
        return self.head(memory)
