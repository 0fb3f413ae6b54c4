"""Actor-critics, feedforward and recurrent, and their constructors."""

import difflib
from collections.abc import Callable, Sequence
from typing import Any, Final, final

import jax
from jaxtyping import Array, Bool, Float

from lerax_fx._core.arguments import check_count, suggest_keywords
from lerax_fx.agents.encoding import (
    ACTOR_GAIN,
    CRITIC_GAIN,
    Encoding,
    hidden_sizes,
    image_encoding,
    image_size,
    is_image,
    torso_for,
    vector_encoding,
)
from lerax_fx.agents.networks import (
    CNN,
    GRU,
    HIDDEN_GAIN,
    MLP,
    Activation,
    Linear,
    orthogonal,
    squeeze_scalar,
)
from lerax_fx.agents.policies import AbstractPolicy, policy_for
from lerax_fx.agents.protocols import AbstractActorCritic, AbstractFeedforward, Output
from lerax_fx.envs.registry import spaces_of
from lerax_fx.errors import HyperparameterError, format_error
from lerax_fx.typing import Key, Tree


@final
class FeedforwardActorCritic(AbstractFeedforward):
    """A feedforward actor-critic, with a shared torso or without.

    - `encoding`: of observations as floats.
    - `torso`: a module from the encoded observation to features, or None.
    - `actor`: a module from features to the policy's `parameters` numbers.
    - `critic`: a module from features to one number, of shape `(1,)`.
    - `policy`: from the actor's output to a distribution.
    """

    encoding: Encoding
    torso: Callable[..., Any] | None
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy

    def output(self, observation: Tree, key: Key) -> Output:
        del key
        x = self.encoding(observation)
        features = x if self.torso is None else self.torso(x)
        return Output(self.policy(self.actor(features)), squeeze_scalar(self.critic(features)))


@final
class RecurrentActorCritic(AbstractActorCritic):
    """A recurrent actor-critic: a GRU on features of the observation, with actor and critic on its
    hidden state.

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
        return Output(self.policy(self.actor(memory)), squeeze_scalar(self.critic(memory)))


_MEMORIES: Final = ("gru",)


@suggest_keywords
def mlp_actor_critic(
    env: Any,
    *,
    key: Key,
    width: int = 64,
    depth: int = 2,
    activation: Activation = "tanh",
    squash: bool = False,
    log_std: float = 0.0,
) -> FeedforwardActorCritic:
    """An actor-critic of two multilayer perceptrons, for policy and value.

    With the defaults, PPO's networks of Schulman et al. 2017, "Proximal Policy Optimization
    Algorithms", section 6.1, initialised as Huang et al. 2022 found it was done.

    **Arguments:**

    - `env`: an [`Env`][lerax_fx.Env] or whatever [`make`][lerax_fx.make] takes; or a pair
      `(observation_space, action_space)`.
    - `width`, `depth`: the size and the number of the hidden layers.
    - `activation`: `"tanh"`, `"relu"`, ... or an elementwise function.
    - `squash`: for continuous actions, whether they are squashed to the space's bounds;
      if not, they are Gaussian, and may leave it.
    - `log_std`: for continuous actions, the initial log standard deviation.

    **Raises:** `WiringError` for a space that it has no network or no policy for;
    `HyperparameterError` for an unknown activation or a size below 1.
    """
    where = "mlp_actor_critic"
    observations, actions = spaces_of(env)
    encoding = vector_encoding(where, observations)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    hidden = hidden_sizes(where, width, depth, at_least=0)
    actor_key, critic_key = jax.random.split(key)

    def network(outputs: int, gain: float, key: Key) -> MLP:
        sizes = (*encoding.shape, *hidden, outputs)
        return MLP(sizes, key=key, activation=activation, last_gain=gain)

    return FeedforwardActorCritic(
        encoding,
        None,
        network(policy.parameters, ACTOR_GAIN, actor_key),
        network(1, CRITIC_GAIN, critic_key),
        policy,
    )


@suggest_keywords
def cnn_actor_critic(
    env: Any,
    *,
    key: Key,
    channels: Sequence[int] = (16,),
    kernel: int = 3,
    width: int = 128,
    activation: Activation = "relu",
    shared: bool = True,
    squash: bool = False,
    log_std: float = 0.0,
) -> FeedforwardActorCritic:
    """An actor-critic for images: a convolutional torso, with a linear policy and value on top.

    With the defaults, the network of Young & Tian 2019, "MinAtar", section 4.

    **Arguments:**

    - `env`, `activation`, `squash`, `log_std`: as in
      [`mlp_actor_critic`][lerax_fx.agents.mlp_actor_critic].
    - `channels`, `kernel`: of each convolution, and the width of their windows.
    - `width`: of the dense layer after them.
    - `shared`: whether policy and value stand on one network, or each on its own.

    **Raises:** as `mlp_actor_critic` does, and `WiringError` for observations that are no
    images, or too small ones.
    """
    where = "cnn_actor_critic"
    observations, actions = spaces_of(env)
    encoding = image_encoding(where, observations)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    width = check_count(f"{where}: width", width)
    torso_key, actor_key, critic_key = jax.random.split(key, 3)

    def network(key: Key, *heads: int, last_gain: float = HIDDEN_GAIN) -> CNN:
        return CNN(
            image_size(encoding),
            (width, *heads),
            key=key,
            channels=channels,
            kernel=kernel,
            activation=activation,
            last_gain=last_gain,
            activate_last=not heads,
        )

    if shared:
        torso = network(torso_key)
        actor = Linear(orthogonal(actor_key, width, policy.parameters, ACTOR_GAIN))
        critic = Linear(orthogonal(critic_key, width, 1, CRITIC_GAIN))
    else:
        torso = None
        actor = network(actor_key, policy.parameters, last_gain=ACTOR_GAIN)
        critic = network(critic_key, 1, last_gain=CRITIC_GAIN)
    return FeedforwardActorCritic(encoding, torso, actor, critic, policy)


@suggest_keywords
def gru_actor_critic(
    env: Any,
    *,
    key: Key,
    width: int = 64,
    depth: int = 1,
    activation: Activation = "tanh",
    squash: bool = False,
    log_std: float = 0.0,
) -> RecurrentActorCritic:
    """A recurrent actor-critic: an encoder, a GRU, and a linear policy and value on its hidden
    state.

    The encoder is a multilayer perceptron; for images, a convolutional network.

    **Arguments:**

    - `env`, `activation`, `squash`, `log_std`: as in
      [`mlp_actor_critic`][lerax_fx.agents.mlp_actor_critic].
    - `width`: of the encoder's layers, and of the memory.
    - `depth`: the number of the encoder's layers (after the convolution, for images).

    **Raises:** as `mlp_actor_critic` does.
    """
    where = "gru_actor_critic"
    observations, actions = spaces_of(env)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    torso_key, gru_key, actor_key, critic_key = jax.random.split(key, 4)
    encoding, torso = torso_for(where, observations, width, depth, activation, torso_key)
    return RecurrentActorCritic(
        encoding,
        torso,
        GRU(width, width, key=gru_key),
        Linear(orthogonal(actor_key, width, policy.parameters, ACTOR_GAIN)),
        Linear(orthogonal(critic_key, width, 1, CRITIC_GAIN)),
        policy,
    )


@suggest_keywords
def actor_critic(
    env: Any,
    *,
    key: Key,
    memory: str | None = None,
    width: int | None = None,
    activation: Activation | None = None,
    squash: bool = False,
    log_std: float = 0.0,
) -> FeedforwardActorCritic | RecurrentActorCritic:
    """The default actor-critic for an environment: convolutional for images (a `Box` of three
    axes), else a multilayer perceptron; recurrent if asked for.

    **Arguments:**

    - `memory`: `"gru"`, or None for none.
    - `width`, `activation`: None for the default of
      [`mlp_actor_critic`][lerax_fx.agents.mlp_actor_critic],
      [`cnn_actor_critic`][lerax_fx.agents.cnn_actor_critic] or
      [`gru_actor_critic`][lerax_fx.agents.gru_actor_critic], which make the agent.
    - `env`, `squash`, `log_std`: as in these.

    **Raises:** as these do, and `HyperparameterError` for an unknown memory.
    """
    if memory is not None and memory not in _MEMORIES:
        raise _unknown_memory(memory)
    spaces = spaces_of(env)
    options: dict[str, Any] = {"squash": squash, "log_std": log_std}
    if width is not None:
        options["width"] = width
    if activation is not None:
        options["activation"] = activation
    if memory == "gru":
        return gru_actor_critic(spaces, key=key, **options)
    if is_image(spaces[0]):
        return cnn_actor_critic(spaces, key=key, **options)
    return mlp_actor_critic(spaces, key=key, **options)


def _unknown_memory(memory: Any) -> HyperparameterError:
    near = difflib.get_close_matches(str(memory).lower(), _MEMORIES, n=1)
    return HyperparameterError(
        format_error(
            "actor_critic: memory",
            wanted=f"None, or one of {', '.join(map(repr, _MEMORIES))}",
            got=repr(memory),
            fix=f"Did you mean {near[0]!r}?" if near else "Pick one of those.",
        )
    )
