"""Actor-critics with a recurrent hidden state."""

from collections.abc import Callable
from typing import Any, final

import jax
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.linear import only_number
from lerax_fx.agents.output import Output
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.agents.recurrent import GRU
from lerax_fx.types import Key, Tree


@final
class RecurrentActorCritic(AbstractActorCritic):
    """Features of the observation go through a GRU; actor and critic see its hidden state.

    - `encoding`: of observations as floats.
    - `torso`: a module from the encoded observation to features.
    - `gru`: the hidden state is a vector that starts at zero.
    - `actor`: a module from the hidden state to the policy's `parameters` numbers.
    - `critic`: a module from the hidden state to one number, of shape `(1,)`.
    - `policy`: from the actor's output to a distribution.
    """

    encoding: Encoding
    torso: Callable[..., Any]
    gru: GRU
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy

    def initial_memory(self) -> Float[Array, " size"]:
        return self.gru.initial_memory()

    def step(
        self, memory: Float[Array, " size"], observation: Tree, key: Key
    ) -> tuple[Float[Array, " size"], Output]:
        del key
        memory = self.gru.advance(memory, self._drive(observation))
        return memory, self._output(memory)

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
        return memory, jax.vmap(self._output)(memories)

    def _drive(self, observation: Tree) -> Float[Array, " gates"]:
        return self.gru.drive(self.torso(self.encoding(observation)))

    def _output(self, memory: Float[Array, " size"]) -> Output:
        return Output(self.policy(self.actor(memory)), only_number(self.critic(memory)))
