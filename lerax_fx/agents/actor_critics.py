"""Actor-critics, feedforward and recurrent, and their constructors."""

import difflib
from collections.abc import Callable, Sequence
from typing import Any, Final, final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_count, check_counts, check_flag, suggest_keywords
from lerax_fx.agents.encoding import (
    ACTOR_GAIN,
    CRITIC_GAIN,
    AnyEncoding,
    has_images,
    hidden_sizes,
    image_encoding,
    image_network,
    torso_for,
    vector_encoding,
)
from lerax_fx.agents.entries import (
    ActionMask,
    actor_and_critic_entries,
    allowed_actions,
    mask_values,
    split_mask,
)
from lerax_fx.agents.networks import (
    GRU,
    HIDDEN_GAIN,
    MLP,
    Activation,
    Linear,
    orthogonal,
    squeeze_scalar,
)
from lerax_fx.agents.policies import AbstractPolicy, policy_for
from lerax_fx.agents.protocols import AbstractFeedforward, Output
from lerax_fx.agents.recurrent import AbstractRecurrent
from lerax_fx.envs.registry import spaces_of
from lerax_fx.errors import HyperparameterError, format_error
from lerax_fx.spaces import Space
from lerax_fx.typing import Key, Tree


@final
class FeedforwardActorCritic(AbstractFeedforward):
    """A feedforward actor-critic, with a shared torso or without.

    - `encoding`: of observations as floats.
    - `torso`: a module from the encoded observation to features, or None.
    - `actor`: a module from features to the policy's `parameters` numbers.
    - `critic`: a module from features to one number, of shape `(1,)`.
    - `policy`: from the actor's output to a distribution.
    - `action_mask`: which actions an observation allows, or None.
    - `critic_encoding`: of what the critic sees, where that is something else; then there is no
      torso.
    """

    encoding: AnyEncoding
    torso: Callable[..., Any] | None
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy
    action_mask: ActionMask | None = None
    critic_encoding: AnyEncoding | None = None

    def output(self, observation: Tree, key: Key) -> Output:
        del key
        x = self.encoding(observation)
        features = x if self.torso is None else self.torso(x)
        allowed = allowed_actions(self.action_mask, observation)
        distribution = self.policy(mask_values(self.actor(features), allowed))
        if self.critic_encoding is not None:
            features = self.critic_encoding(observation)
        value = squeeze_scalar(self.critic(features))
        return Output(distribution, value, action_mask=allowed)


@final
class RecurrentActorCritic(AbstractRecurrent):
    """A recurrent actor-critic: a GRU on features of the observation, with actor and critic on its
    hidden state.

    - `encoding`: of observations as floats.
    - `torso`: a module from the encoded observation to features.
    - `gru`: the hidden state is a vector that starts at zero.
    - `actor`: a module from the hidden state to the policy's `parameters` numbers.
    - `critic`: a module from the hidden state to one number, of shape `(1,)`.
    - `policy`: from the actor's output to a distribution.
    - `action_mask`: which actions an observation allows, or None.
    - `critic_encoding`, `critic_torso`: where the critic sees something else, of that, and to
      features, which the critic gets behind the hidden state.
    """

    encoding: AnyEncoding
    torso: Callable[..., Any]
    gru: GRU
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy
    action_mask: ActionMask | None = None
    critic_encoding: AnyEncoding | None = None
    critic_torso: Callable[..., Any] | None = None

    def _output(self, memory: Float[Array, " size"], observation: Tree) -> Output:
        allowed = allowed_actions(self.action_mask, observation)
        distribution = self.policy(mask_values(self.actor(memory), allowed))
        history = memory
        if self.critic_encoding is not None and self.critic_torso is not None:
            features = self.critic_torso(self.critic_encoding(observation))
            history = jnp.concatenate([memory, features])
        value = squeeze_scalar(self.critic(history))
        return Output(distribution, value, action_mask=allowed)


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
    action_mask: str | None = None,
    actor_sees: str | tuple[str, ...] | None = None,
    critic_sees: str | tuple[str, ...] | None = None,
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
    - `action_mask`: the name of an entry of `Dict` observations that says which of the `Discrete`
      actions are allowed: bools, or integers 0 or 1, one for each. The others have probability 0;
      where none is allowed, all are. The networks do not see the entry.
    - `actor_sees`, `critic_sees`: the names of the entries of `Dict` observations that the policy
      and the value are functions of; `None` for all. What only the critic sees is not needed to
      act: an asymmetric actor-critic, Pinto et al. 2018, "Asymmetric Actor Critic for Image-Based
      Robot Learning".

    **Raises:** `WiringError` for a space that it has no network or no policy for, or without an
    entry that is named;
    `HyperparameterError` for an unknown activation or a size below 1.
    """
    where = "mlp_actor_critic"
    observations, actions = spaces_of(env)
    observations, mask = split_mask(where, observations, actions, action_mask)
    observations, critics = actor_and_critic_entries(where, observations, actor_sees, critic_sees)
    encoding = vector_encoding(where, observations)
    critic_encoding = None if critics is None else vector_encoding(where, critics)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    hidden = hidden_sizes(where, width, depth, at_least=0)
    actor_key, critic_key = jax.random.split(key)
    seen_by_critic = encoding if critic_encoding is None else critic_encoding

    def network(encoding: AnyEncoding, outputs: int, gain: float, key: Key) -> MLP:
        sizes = (*encoding.shape, *hidden, outputs)
        return MLP(sizes, key=key, activation=activation, last_gain=gain)

    return FeedforwardActorCritic(
        encoding,
        None,
        network(encoding, policy.parameters, ACTOR_GAIN, actor_key),
        network(seen_by_critic, 1, CRITIC_GAIN, critic_key),
        policy,
        mask,
        critic_encoding,
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
    action_mask: str | None = None,
    actor_sees: str | tuple[str, ...] | None = None,
    critic_sees: str | tuple[str, ...] | None = None,
) -> FeedforwardActorCritic:
    """An actor-critic for images: a convolutional torso, with a linear policy and value on top.

    With the defaults, the network of Young & Tian 2019, "MinAtar", section 4.

    **Arguments:**

    - `env`, `activation`, `squash`, `log_std`, `action_mask`, `actor_sees`, `critic_sees`: as in
      [`mlp_actor_critic`][lerax_fx.agents.mlp_actor_critic].
    - `channels`, `kernel`: of each convolution, and the width of their windows.
    - `width`: of the dense layer after them.
    - `shared`: whether policy and value stand on one network, or each on its own, as they always do
      where they see different entries. One that sees no image is a multilayer perceptron.

    **Raises:** as `mlp_actor_critic` does, and `WiringError` for observations that are no
    images, or too small ones.
    """
    where = "cnn_actor_critic"
    observations, actions = spaces_of(env)
    observations, mask = split_mask(where, observations, actions, action_mask)
    observations, critics = actor_and_critic_entries(where, observations, actor_sees, critic_sees)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    width = check_count(f"{where}: width", width)
    channels = check_counts(f"{where}: channels", channels)
    shared = check_flag(f"{where}: shared", shared)
    torso_key, actor_key, critic_key = jax.random.split(key, 3)
    if not any(map(has_images, (observations, critics or observations))):
        image_encoding(where, observations)  # which says so

    def network(
        space: Space, key: Key, *heads: int, last_gain: float = HIDDEN_GAIN
    ) -> tuple[AnyEncoding, Callable[..., Any]]:
        sizes, last = (width, *heads), {"last_gain": last_gain, "activate_last": not heads}
        if not has_images(space):  # what the actor or the critic sees of them
            encoding = vector_encoding(where, space)
            sizes = (*encoding.shape, *sizes)
            return encoding, MLP(sizes, key=key, activation=activation, last_gain=last_gain)
        encoding = image_encoding(where, space)
        windows = {"channels": channels, "kernel": kernel}
        return encoding, image_network(
            encoding, sizes, key=key, activation=activation, **windows, **last
        )

    if shared and critics is None:
        encoding, torso = network(observations, torso_key)
        actor = Linear(orthogonal(actor_key, width, policy.parameters, ACTOR_GAIN))
        critic = Linear(orthogonal(critic_key, width, 1, CRITIC_GAIN))
        return FeedforwardActorCritic(encoding, torso, actor, critic, policy, mask)
    encoding, actor = network(observations, actor_key, policy.parameters, last_gain=ACTOR_GAIN)
    critic_encoding, critic = network(critics or observations, critic_key, 1, last_gain=CRITIC_GAIN)
    own = None if critics is None else critic_encoding
    return FeedforwardActorCritic(encoding, None, actor, critic, policy, mask, own)


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
    action_mask: str | None = None,
    actor_sees: str | tuple[str, ...] | None = None,
    critic_sees: str | tuple[str, ...] | None = None,
) -> RecurrentActorCritic:
    """A recurrent actor-critic: an encoder, a GRU, and a linear policy and value on its hidden
    state.

    The encoder is a multilayer perceptron; for images, a convolutional network.

    **Arguments:**

    - `env`, `activation`, `squash`, `log_std`, `action_mask`, `actor_sees`, `critic_sees`: as in
      [`mlp_actor_critic`][lerax_fx.agents.mlp_actor_critic].
    - `width`: of the encoder's layers, and of the memory.
    - `depth`: the number of the encoder's layers (after the convolution, for images).

    With `actor_sees` or `critic_sees`, the memory is of what the actor sees, and the value is a
    function of it and of what the critic sees: Baisero & Amato 2022, "Unbiased Asymmetric
    Reinforcement Learning under Partial Observability", section 4.

    **Raises:** as `mlp_actor_critic` does.
    """
    where = "gru_actor_critic"
    observations, actions = spaces_of(env)
    observations, mask = split_mask(where, observations, actions, action_mask)
    observations, critics = actor_and_critic_entries(where, observations, actor_sees, critic_sees)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    torso_key, gru_key, actor_key, critic_key = jax.random.split(key, 4)
    encoding, torso = torso_for(where, observations, width, depth, activation, torso_key)
    critic_encoding, critic_torso, critic_inputs = None, None, width
    if critics is not None:
        own_key = jax.random.fold_in(torso_key, 1)
        critic_encoding, critic_torso = torso_for(where, critics, width, depth, activation, own_key)
        critic_inputs = 2 * width
    return RecurrentActorCritic(
        encoding,
        torso,
        GRU(width, width, key=gru_key),
        Linear(orthogonal(actor_key, width, policy.parameters, ACTOR_GAIN)),
        Linear(orthogonal(critic_key, critic_inputs, 1, CRITIC_GAIN)),
        policy,
        mask,
        critic_encoding,
        critic_torso,
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
    action_mask: str | None = None,
    actor_sees: str | tuple[str, ...] | None = None,
    critic_sees: str | tuple[str, ...] | None = None,
) -> FeedforwardActorCritic | RecurrentActorCritic:
    """The default actor-critic for an environment: convolutional for images (a `Box` of three
    axes), also among the parts of a `Dict` or a `Tuple`; else a multilayer perceptron; recurrent if
    asked for.

    **Arguments:**

    - `memory`: `"gru"`, or None for none.
    - `width`, `activation`: None for the default of
      [`mlp_actor_critic`][lerax_fx.agents.mlp_actor_critic],
      [`cnn_actor_critic`][lerax_fx.agents.cnn_actor_critic] or
      [`gru_actor_critic`][lerax_fx.agents.gru_actor_critic], which make the agent.
    - `env`, `squash`, `log_std`, `action_mask`, `actor_sees`, `critic_sees`: as in these.

    **Raises:** as these do, and `HyperparameterError` for an unknown memory.
    """
    asked: Any = memory
    if asked is not None and not (isinstance(asked, str) and asked in _MEMORIES):
        raise _unknown_memory(memory)
    spaces = spaces_of(env)
    options: dict[str, Any] = {"squash": squash, "log_std": log_std, "action_mask": action_mask}
    options |= {"actor_sees": actor_sees, "critic_sees": critic_sees}
    if width is not None:
        options["width"] = width
    if activation is not None:
        options["activation"] = activation
    if memory == "gru":
        return gru_actor_critic(spaces, key=key, **options)
    seen = split_mask("actor_critic", *spaces, action_mask)[0]
    actors, critics = actor_and_critic_entries("actor_critic", seen, actor_sees, critic_sees)
    if has_images(actors) or has_images(critics or actors):
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
