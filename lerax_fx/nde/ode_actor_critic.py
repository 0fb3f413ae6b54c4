"""Actor-critics whose memory flows by an ODE between observations."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.linear import only_number
from lerax_fx.agents.output import Output
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.agents.recurrent import GRU
from lerax_fx.nde.equations import ODE, AbstractEquation
from lerax_fx.nde.method import Method
from lerax_fx.nde.split_time import split_time
from lerax_fx.types import Flag, Key, Scalar, Tree


@final
class ODEActorCritic(AbstractActorCritic):
    """The ODE-RNN of Rubanova et al. 2019, "Latent Ordinary Differential Equations for
    Irregularly-Sampled Time Series", algorithm 1, with a GRU: before an observation, the
    memory flows for the time that passed; at it, it jumps.

    - `encoding`: of observations as floats.
    - `torso`: a module from the encoded observation to features.
    - `flow`: the vector field of the memory, a module `(t, memory) -> slope`; `t` is the
      time since the last observation.
    - `gru`: the jump; the memory is a vector that starts at zero.
    - `actor`: a module from the memory to the policy's `parameters` numbers.
    - `critic`: a module from the memory to one number, of shape `(1,)`.
    - `policy`: from the actor's output to a distribution.
    - `method`: how the flow is solved.

    Observations are arrays, which come 1 apart, or [`Timed`][lerax_fx.Timed].
    """

    encoding: Encoding
    torso: Callable[..., Any]
    flow: Callable[..., Any]
    gru: GRU
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy
    method: Method = eqx.field(static=True)

    def initial_memory(self) -> Float[Array, " size"]:
        return jnp.zeros_like(self.gru.bias)

    def step(
        self, memory: Float[Array, " size"], observation: Tree, key: Key
    ) -> tuple[Float[Array, " size"], Output]:
        del key
        memory = self._advance(self._equation(), memory, *self._drive(observation))
        return memory, self._output(memory)

    def unroll(
        self,
        memory: Float[Array, " size"],
        observations: Tree,
        resets: Bool[Array, " time"],
        key: Key,
    ) -> tuple[Float[Array, " size"], Output]:
        del key
        # Only the flow and the jump are left in the scan.
        initial, equation = self.initial_memory(), self._equation()

        def advance(memory: Array, inputs: tuple[Array, Array, Flag]) -> tuple[Array, Array]:
            drive, dt, reset = inputs
            memory = self._advance(equation, jnp.where(reset, initial, memory), drive, dt)
            return memory, memory

        drives, dts = jax.vmap(self._drive)(observations)
        memory, memories = jax.lax.scan(advance, memory, (drives, dts, resets))
        return memory, jax.vmap(self._output)(memories)

    def _equation(self) -> AbstractEquation:
        return self.method.guarded(ODE(self.flow))

    def _drive(self, observation: Tree) -> tuple[Float[Array, " gates"], Scalar]:
        value, dt = split_time(observation)
        return self.gru.drive(self.torso(self.encoding(value))), dt

    def _advance(
        self,
        equation: AbstractEquation,
        memory: Float[Array, " size"],
        drive: Float[Array, " gates"],
        dt: Scalar,
    ) -> Float[Array, " size"]:
        flowed, _ = self.method.interval(equation, memory, t=0.0, dt=dt, control=None, key=None)
        return self.gru.advance(flowed, drive)

    def _output(self, memory: Float[Array, " size"]) -> Output:
        return Output(self.policy(self.actor(memory)), only_number(self.critic(memory)))
