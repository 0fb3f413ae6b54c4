"""Q-networks with a recurrent hidden state."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.output import QOutput, greedy_output
from lerax_fx.agents.recurrent import GRU
from lerax_fx.types import Key, Tree


@final
class RecurrentQAgent(AbstractActorCritic):
    """Features of the observation go through a GRU, whose hidden state gives the Q-values. Its
    policy is greedy.

    - `encoding`: of observations as floats.
    - `torso`: a module from the encoded observation to features.
    - `gru`: the hidden state is a vector that starts at zero.
    - `head`: a module from the hidden state to a number for each action.
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
        self, memory: Float[Array, " size"], observation: Tree, key: Key
    ) -> tuple[Float[Array, " size"], QOutput]:
        del key
        memory = self.gru.advance(memory, self._drive(observation))
        return memory, greedy_output(self._q_values(memory))

    def unroll(
        self,
        memory: Float[Array, " size"],
        observations: Tree,
        resets: Bool[Array, " time"],
        key: Key,
    ) -> tuple[Float[Array, " size"], QOutput]:
        del key
        drives = jax.vmap(self._drive)(observations)
        memory, memories = self.gru.unroll(memory, drives, resets)
        return memory, jax.vmap(lambda memory: greedy_output(self._q_values(memory)))(memories)

    def _drive(self, observation: Tree) -> Float[Array, " gates"]:
        return self.gru.drive(self.torso(self.encoding(observation)))

    def _q_values(self, memory: Float[Array, " size"]) -> Float[Array, "{self.num_actions}"]:
        return self.head(memory)
