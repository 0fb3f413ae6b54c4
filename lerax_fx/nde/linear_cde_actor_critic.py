"""An actor-critic whose memory is a linear controlled differential equation."""

from collections.abc import Callable
from typing import Any, Final, final

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from lerax_fx.agents.activation import Activation
from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.convolution import CNN
from lerax_fx.agents.encoding import Encoding, image_encoding, is_image, vector_encoding
from lerax_fx.agents.linear import Linear, only_number, orthogonal
from lerax_fx.agents.mlp import HIDDEN_GAIN, MLP
from lerax_fx.agents.policies import policy_for
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.core.bounds import check_count, check_flag
from lerax_fx.data.timed import Timed
from lerax_fx.environments.make import make
from lerax_fx.environments.spaces import Space
from lerax_fx.environments.timed_space import TimedSpace
from lerax_fx.nde.linear_cde import LinearCDE
from lerax_fx.types import Key, Scalar, Tree

# As in the other constructors: a policy close to uniform, values of the usual size.
_ACTOR_GAIN: Final = 0.01
_CRITIC_GAIN: Final = 1.0


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
        equation = self.equation
        nothing = jnp.zeros_like(equation.frequency)
        features = jnp.zeros(equation.weight.shape[-2], equation.weight.dtype)
        return LinearCDEMemory(jax.lax.complex(nothing, nothing), features)

    def step(
        self, memory: LinearCDEMemory, features: Float[Array, " features"], dt: Scalar
    ) -> tuple[LinearCDEMemory, Float[Array, " outputs"]]:
        """One interval: the memory after it, and what the layer gives on."""
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
        self, memory: tuple[LinearCDEMemory, ...], observation: Tree
    ) -> tuple[tuple[LinearCDEMemory, ...], distrax.Distribution, Scalar]:
        features, dt = self._features(observation)
        after: list[LinearCDEMemory] = []
        for layer, before in zip(self.layers, memory, strict=True):
            now, features = layer.step(before, features, dt)
            after.append(now)
        return tuple(after), *self._act(features)

    def unroll(
        self,
        memory: tuple[LinearCDEMemory, ...],
        observations: Tree,
        resets: Bool[Array, " time"],
    ) -> tuple[tuple[LinearCDEMemory, ...], distrax.Distribution, Float[Array, " time"]]:
        features, dts = jax.vmap(self._features)(observations)
        after: list[LinearCDEMemory] = []
        for layer, before in zip(self.layers, memory, strict=True):
            last, features = layer.unroll(before, features, dts, resets, parallel=self.parallel)
            after.append(last)
        return tuple(after), *jax.vmap(self._act)(features)

    def _features(self, observation: Tree) -> tuple[Float[Array, " features"], Scalar]:
        timed = isinstance(observation, Timed)
        value, dt = (observation.value, observation.dt) if timed else (observation, 1.0)
        features = self.torso(self.encoding(value))
        # No time passes in an interval whose length is below 0 or not finite.
        dt = jnp.asarray(dt, features.dtype)
        return features, jnp.where((dt >= 0) & jnp.isfinite(dt), dt, 0.0)

    def _act(self, features: Float[Array, " features"]) -> tuple[distrax.Distribution, Scalar]:
        return self.policy(self.actor(features)), only_number(self.critic(features))


def linear_cde_actor_critic(
    env: Any,
    *,
    key: Key,
    width: int = 64,
    depth: int = 1,
    layers: int = 2,
    activation: Activation = "tanh",
    squash: bool = False,
    log_std: float = 0.0,
    parallel: bool | None = None,
) -> LinearCDEActorCritic:
    """An encoder, linear CDEs as a memory, and a linear policy and value on top of them.

    As [`gru_actor_critic`][lerax_fx.gru_actor_critic], but for the memory: trained in
    parallel over time, and told how much of it passed.

    **Arguments:**

    - `env`, `activation`, `squash`, `log_std`: as in
      [`mlp_actor_critic`][lerax_fx.mlp_actor_critic]; observations may be
      [`Timed`][lerax_fx.Timed].
    - `width`: of the encoder's layers, and of each layer of the memory: its two by two
      blocks, and what it gives on.
    - `depth`: the number of the encoder's layers (after the convolution, for images).
    - `layers`: the number of linear CDEs, each driven by what the one before gives on.
    - `parallel`: whether trajectories are solved by an associative scan, or one interval
      after the other, which on a CPU was as fast or faster (docs/performance.md). By default
      by a scan unless JAX's default backend is a CPU.

    **Raises:** as `mlp_actor_critic` does.
    """
    where = "linear_cde_actor_critic"
    observations, actions = _spaces(env)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    width = check_count(f"{where}: width", width)
    depth = check_count(f"{where}: depth", depth)
    layers = check_count(f"{where}: layers", layers)
    if parallel is None:
        parallel = jax.default_backend() != "cpu"
    parallel = check_flag(f"{where}: parallel", parallel)
    torso_key, actor_key, critic_key, *layer_keys = jax.random.split(key, 3 + layers)
    encoding, torso = _torso(where, observations, (width,) * depth, activation, torso_key)

    def layer(key: Key) -> LinearCDELayer:
        equation_key, readout_key = jax.random.split(key)
        readout = _activated((3 * width + 1, width), activation, readout_key)
        return LinearCDELayer(LinearCDE(width, width, key=equation_key), readout)

    return LinearCDEActorCritic(
        encoding,
        torso,
        tuple(map(layer, layer_keys)),
        Linear(orthogonal(actor_key, width, policy.parameters, _ACTOR_GAIN)),
        Linear(orthogonal(critic_key, width, 1, _CRITIC_GAIN)),
        policy,
        parallel,
    )


def _spaces(env: Any) -> tuple[Space, Space]:
    match env:
        case (Space() as observations, Space() as actions):
            pass
        case _:
            made = make(env)
            observations, actions = made.observation_space, made.action_space
    return observations.value if isinstance(observations, TimedSpace) else observations, actions


def _torso(
    where: str, space: Space, hidden: tuple[int, ...], activation: Activation, key: Key
) -> tuple[Encoding, Callable[..., Any]]:
    """An encoding and a network of activated layers on it."""
    if is_image(space):
        encoding = image_encoding(where, space)
        height, width, channels = encoding.shape
        return encoding, CNN((height, width, channels), hidden, key=key, activation=activation)
    encoding = vector_encoding(where, space)
    return encoding, _activated((*encoding.shape, *hidden), activation, key)


def _activated(sizes: tuple[int, ...], activation: Activation, key: Key) -> MLP:
    return MLP(sizes, key=key, activation=activation, last_gain=HIDDEN_GAIN, activate_last=True)
