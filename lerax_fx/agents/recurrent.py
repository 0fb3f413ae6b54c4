"""What agents with a GRU share."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.encoding import AnyEncoding
from lerax_fx.agents.networks import GRU
from lerax_fx.agents.protocols import AbstractActorCritic, Output
from lerax_fx.typing import Key, Tree


class AbstractRecurrent(AbstractActorCritic):
    """An agent whose hidden state is that of a GRU on features of the observation: a subclass
    defines `_output`, from the hidden state after an observation.
    """

    encoding: eqx.AbstractVar[AnyEncoding]
    torso: eqx.AbstractVar[Callable[..., Any]]
    gru: eqx.AbstractVar[GRU]

    @abc.abstractmethod
    def _output(self, memory: Float[Array, " size"], observation: Tree) -> Output:
        """The output for one observation."""

    def initial_memory(self) -> Float[Array, " size"]:
        return self.gru.initial_memory()

    def step(
        self, memory: Float[Array, " size"], observation: Tree, key: Key
    ) -> tuple[Float[Array, " size"], Output]:
        del key
        memory = self.gru.advance(memory, self._drive(observation))
        return memory, self._output(memory, observation)

    def unroll(
        self,
        memory: Float[Array, " size"],
        observations: Tree,
        resets: Bool[Array, " time"],
        key: Key,
    ) -> tuple[Float[Array, " size"], Output]:
        del key
        drives = jax.vmap(self._drive)(observations)
        memory, memories = self.gru.unroll(memory, drives, resets)
        return memory, jax.vmap(self._output)(memories, observations)

    def _drive(self, observation: Tree) -> Float[Array, " gates"]:
        return self.gru.drive(self.torso(self.encoding(observation)))
