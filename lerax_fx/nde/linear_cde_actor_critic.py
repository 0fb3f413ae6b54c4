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
    """What is remembered between observations.

    - `state`: of the differential equation.
    - `features`: of the last observation, from where the path goes on; 0 before the first.
    """

    state: Complex[Array, " size"]
    features: Float[Array, " features"]


@final
class LinearCDEActorCritic(AbstractActorCritic):
    """Features of the observations drive a linear CDE; actor and critic see its state and
    the features.

    The path that drives it is straight from each observation to the next: what happens up
    to an observation depends on that one and those before, never on later ones. It
    begins at 0, so that the first observation counts as well as how they change.
    Observations are [`Timed`][lerax_fx.Timed], or arrays that are one unit of time apart.

    - `encoding`: of observations as floats, without their times.
    - `torso`: a module from the encoded observation to features.
    - `equation`: what the memory obeys.
    - `readout`: a module from state and features to what actor and critic see.
    - `actor`, `critic`, `policy`: as in
      [`RecurrentActorCritic`][lerax_fx.agents.RecurrentActorCritic].
    - `parallel`: whether trajectories are solved by an associative scan.
    """

    encoding: Encoding
    torso: Callable[..., Any]
    equation: LinearCDE
    readout: Callable[..., Any]
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy
    parallel: bool = eqx.field(static=True, default=True)

    def initial_memory(self) -> LinearCDEMemory:
        equation = self.equation
        nothing = jnp.zeros_like(equation.frequency)
        features = jnp.zeros(equation.weight.shape[-2], equation.weight.dtype)
        return LinearCDEMemory(jax.lax.complex(nothing, nothing), features)

    def step(
        self, memory: LinearCDEMemory, observation: Tree
    ) -> tuple[LinearCDEMemory, distrax.Distribution, Scalar]:
        features, dt = self._features(observation)
        factor, shift = self.equation.flow(dt, features - memory.features)
        state = factor * memory.state + shift
        return LinearCDEMemory(state, features), *self._act(state, features)

    def unroll(
        self, memory: LinearCDEMemory, observations: Tree, resets: Bool[Array, " time"]
    ) -> tuple[LinearCDEMemory, distrax.Distribution, Float[Array, " time"]]:
        features, dts = jax.vmap(self._features)(observations)
        before = jnp.concatenate([memory.features[None], features[:-1]])
        before = jnp.where(resets[:, None], 0.0, before)
        states = self.equation.solve(
            memory.state, dts, features - before, resets, parallel=self.parallel
        )
        last = LinearCDEMemory(states[-1], features[-1])
        return last, *jax.vmap(self._act)(states, features)

    def _features(self, observation: Tree) -> tuple[Float[Array, " features"], Scalar]:
        timed = isinstance(observation, Timed)
        value, dt = (observation.value, observation.dt) if timed else (observation, 1.0)
        features = self.torso(self.encoding(value))
        return features, jnp.asarray(dt, features.dtype)

    def _act(
        self, state: Complex[Array, " size"], features: Float[Array, " features"]
    ) -> tuple[distrax.Distribution, Scalar]:
        seen = self.readout(jnp.concatenate([state.real, state.imag, features]))
        return self.policy(self.actor(seen)), only_number(self.critic(seen))


def linear_cde_actor_critic(
    env: Any,
    *,
    key: Key,
    width: int = 64,
    depth: int = 1,
    activation: Activation = "tanh",
    squash: bool = False,
    log_std: float = 0.0,
    parallel: bool = True,
) -> LinearCDEActorCritic:
    """An encoder, a linear CDE as a memory, a layer on both, and a linear policy and value.

    As [`gru_actor_critic`][lerax_fx.gru_actor_critic], but for the memory: trained in
    parallel over time, and told how much of it passed.

    **Arguments:**

    - `env`, `activation`, `squash`, `log_std`: as in
      [`mlp_actor_critic`][lerax_fx.mlp_actor_critic]; observations may be
      [`Timed`][lerax_fx.Timed].
    - `width`: of the encoder's layers, of the memory (two by two blocks) and of the layer
      on top.
    - `depth`: the number of the encoder's layers (after the convolution, for images).
    - `parallel`: whether trajectories are solved by an associative scan, or step by step.

    **Raises:** as `mlp_actor_critic` does.
    """
    where = "linear_cde_actor_critic"
    observations, actions = _spaces(env)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    width = check_count(f"{where}: width", width)
    depth = check_count(f"{where}: depth", depth)
    torso_key, equation_key, readout_key, actor_key, critic_key = jax.random.split(key, 5)
    encoding, torso = _torso(where, observations, (width,) * depth, activation, torso_key)
    readout = _activated((3 * width, width), activation, readout_key)
    return LinearCDEActorCritic(
        encoding,
        torso,
        LinearCDE(width, width, key=equation_key),
        readout,
        Linear(orthogonal(actor_key, width, policy.parameters, _ACTOR_GAIN)),
        Linear(orthogonal(critic_key, width, 1, _CRITIC_GAIN)),
        policy,
        check_flag(f"{where}: parallel", parallel),
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
