"""An actor-critic whose memory is a linear controlled differential equation."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.linear import only_number
from lerax_fx.agents.output import Output
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.nde.linear_cde import LinearCDE
from lerax_fx.nde.split_time import possible_length, split_time
from lerax_fx.types import Key, Scalar, Tree


@final
class LinearCDEMemory(eqx.Module):
    """What a layer remembers between observations.

    - `state`: of the differential equation.
    - `features`: what drove it last, from where its path goes on; 0 before the first.
    """

    state: Complex[Array, " size"]
    features: Float[Array, " features"]


@final
class LinearCDELayer(eqx.Module):
    """A linear CDE driven by features, and a network on its state, the features and the time
    that passed.

    The path that drives it is straight from each observation to the next: what happens up
    to an observation depends on that one and those before, never on later ones. It
    begins at 0, so that the first observation counts as well as how they change.
    """

    equation: LinearCDE
    readout: Callable[..., Any]

    def initial_memory(self) -> LinearCDEMemory:
        """Before an episode's first observation."""
        state = self.equation.initial_state()
        features = jnp.zeros(self.equation.weight.shape[-2], state.real.dtype)
        return LinearCDEMemory(state, features)

    def step(
        self, memory: LinearCDEMemory, features: Float[Array, " features"], dt: Scalar
    ) -> tuple[LinearCDEMemory, Float[Array, " outputs"]]:
        """One interval: the memory after it, and what the layer gives on."""
        features = features.astype(memory.features.dtype)
        factor, shift = self.equation.flow(dt, features - memory.features)
        state = factor * memory.state + shift
        return LinearCDEMemory(state, features), self._read(state, features, dt)

    def unroll(
        self,
        memory: LinearCDEMemory,
        features: Float[Array, "time features"],
        dts: Float[Array, " time"],
        resets: Bool[Array, " time"],
        *,
        parallel: bool,
    ) -> tuple[LinearCDEMemory, Float[Array, "time outputs"]]:
        """What one `step` after the other would give, memory reset where `resets` says so."""
        features = features.astype(memory.features.dtype)
        before = jnp.concatenate([memory.features[None], features[:-1]])
        before = jnp.where(resets[:, None], 0.0, before)
        changes = features - before
        states = self.equation.solve(memory.state, dts, changes, resets, parallel=parallel)
        last = LinearCDEMemory(states[-1], features[-1])
        return last, jax.vmap(self._read)(states, features, dts)

    def _read(
        self, state: Complex[Array, " size"], features: Float[Array, " features"], dt: Scalar
    ) -> Float[Array, " outputs"]:
        return self.readout(jnp.concatenate([state.real, state.imag, features, dt[None]]))


@final
class LinearCDEActorCritic(AbstractActorCritic):
    """Features of the observations drive linear CDEs, one on top of the other; actor and
    critic see what the last gives on.

    A layer remembers a linear function of its inputs' past. The second can remember what
    the first made of it, for instance what was done.
    Observations are [`Timed`][lerax_fx.Timed], or arrays that are one unit of time apart.

    - `encoding`: of observations as floats, without their times.
    - `torso`: a module from the encoded observation to features.
    - `layers`: what the memory is made of.
    - `actor`, `critic`, `policy`: as in
      [`RecurrentActorCritic`][lerax_fx.agents.RecurrentActorCritic].
    - `parallel`: whether trajectories are solved by an associative scan.
    """

    encoding: Encoding
    torso: Callable[..., Any]
    layers: tuple[LinearCDELayer, ...]
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy
    parallel: bool = eqx.field(static=True, default=True)

    def initial_memory(self) -> tuple[LinearCDEMemory, ...]:
        return tuple(layer.initial_memory() for layer in self.layers)

    def step(
        self, memory: tuple[LinearCDEMemory, ...], observation: Tree, key: Key
    ) -> tuple[tuple[LinearCDEMemory, ...], Output]:
        del key
        features, dt = self._features(observation)
        after: list[LinearCDEMemory] = []
        for layer, before in zip(self.layers, memory, strict=True):
            now, features = layer.step(before, features, dt)
            after.append(now)
        return tuple(after), self._output(features)

    def unroll(
        self,
        memory: tuple[LinearCDEMemory, ...],
        observations: Tree,
        resets: Bool[Array, " time"],
        key: Key,
    ) -> tuple[tuple[LinearCDEMemory, ...], Output]:
        del key
        features, dts = jax.vmap(self._features)(observations)
        after: list[LinearCDEMemory] = []
        for layer, before in zip(self.layers, memory, strict=True):
            last, features = layer.unroll(before, features, dts, resets, parallel=self.parallel)
            after.append(last)
        return tuple(after), jax.vmap(self._output)(features)

    def _features(self, observation: Tree) -> tuple[Float[Array, " features"], Scalar]:
        value, dt = split_time(observation)
        features = self.torso(self.encoding(value))
        return features, possible_length(jnp.asarray(dt, features.dtype))

    def _output(self, features: Float[Array, " features"]) -> Output:
        return Output(self.policy(self.actor(features)), only_number(self.critic(features)))
