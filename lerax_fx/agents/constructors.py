"""Agents that fit an environment."""

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp

from lerax_fx.agents.activation import Activation
from lerax_fx.agents.convolution import CNN
from lerax_fx.agents.critics import Critics
from lerax_fx.agents.discrete_q_actor_critic import DiscreteQActorCritic
from lerax_fx.agents.distributional_q_agent import DistributionalQAgent
from lerax_fx.agents.encoding import Encoding, image_encoding, is_image, vector_encoding
from lerax_fx.agents.feedforward import FeedforwardActorCritic
from lerax_fx.agents.linear import Linear, orthogonal
from lerax_fx.agents.mlp import HIDDEN_GAIN, MLP
from lerax_fx.agents.policies import (
    AbstractPolicy,
    ActionBounds,
    CategoricalPolicy,
    DeterministicPolicy,
    StateDependentGaussianPolicy,
    action_bounds,
    policy_for,
)
from lerax_fx.agents.q_actor_critic import QActorCritic
from lerax_fx.agents.q_agent import QAgent
from lerax_fx.agents.recurrent import GRU
from lerax_fx.agents.recurrent_actor_critic import RecurrentActorCritic
from lerax_fx.agents.recurrent_q_agent import RecurrentQAgent
from lerax_fx.core.bounds import (
    Interval,
    Positive,
    check_count,
    check_counts,
    check_flag,
    check_number,
)
from lerax_fx.environments.make import make
from lerax_fx.environments.spaces import Discrete, Space
from lerax_fx.errors import HyperparameterError, WiringError, explain
from lerax_fx.types import Key, Scalar

# Huang et al. 2022, "The 37 Implementation Details of Proximal Policy Optimization", detail
# 2: a policy that starts close to uniform, values of the usual size.
_ACTOR_GAIN: Final = 0.01
_CRITIC_GAIN: Final = 1.0

_MEMORIES: Final = ("gru",)


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
    """Two multilayer perceptrons, one for the policy and one for the value.

    With the defaults, PPO's networks of Schulman et al. 2017, "Proximal Policy Optimization
    Algorithms", section 6.1, initialised as Huang et al. 2022 found it was done.

    **Arguments:**

    - `env`: an [`Env`][lerax_fx.Env] or whatever [`make`][lerax_fx.make] takes; or a pair
      `(observation_space, action_space)`.
    - `width`, `depth`: the size and the number of the hidden layers.
    - `activation`: `"tanh"`, `"relu"`, ... or an elementwise function.
    - `squash`: for real-valued actions, whether they are squashed to the space's bounds;
      if not, they are Gaussian, and may leave it.
    - `log_std`: for real-valued actions, what the log of their standard deviation starts at.

    **Raises:** `WiringError` for a space that it has no network or no policy for;
    `HyperparameterError` for an unknown activation or a size below 1.
    """
    where = "mlp_actor_critic"
    observations, actions = _spaces(env)
    encoding = vector_encoding(where, observations)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    hidden = _hidden(where, width, depth, at_least=0)
    actor_key, critic_key = jax.random.split(key)

    def network(outputs: int, gain: float, key: Key) -> MLP:
        sizes = (*encoding.shape, *hidden, outputs)
        return MLP(sizes, key=key, activation=activation, last_gain=gain)

    return FeedforwardActorCritic(
        encoding,
        None,
        network(policy.parameters, _ACTOR_GAIN, actor_key),
        network(1, _CRITIC_GAIN, critic_key),
        policy,
    )


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
    """A convolutional network for images, with a linear policy and value on top.

    With the defaults, the network of Young & Tian 2019, "MinAtar", section 4.

    **Arguments:**

    - `env`, `activation`, `squash`, `log_std`: as in
      [`mlp_actor_critic`][lerax_fx.mlp_actor_critic].
    - `channels`, `kernel`: of each convolution, and the width of their windows.
    - `width`: of the dense layer after them.
    - `shared`: whether policy and value stand on one network, or each on its own.

    **Raises:** as `mlp_actor_critic` does, and `WiringError` for observations that are no
    images, or too small ones.
    """
    where = "cnn_actor_critic"
    observations, actions = _spaces(env)
    encoding = image_encoding(where, observations)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    width = check_count(f"{where}: width", width)
    torso_key, actor_key, critic_key = jax.random.split(key, 3)

    def network(key: Key, *heads: int, last_gain: float = HIDDEN_GAIN) -> CNN:
        return CNN(
            _image_size(encoding),
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
        actor = Linear(orthogonal(actor_key, width, policy.parameters, _ACTOR_GAIN))
        critic = Linear(orthogonal(critic_key, width, 1, _CRITIC_GAIN))
    else:
        torso = None
        actor = network(actor_key, policy.parameters, last_gain=_ACTOR_GAIN)
        critic = network(critic_key, 1, last_gain=_CRITIC_GAIN)
    return FeedforwardActorCritic(encoding, torso, actor, critic, policy)


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
    """An encoder, a gated recurrent unit, and a linear policy and value on its memory.

    The encoder is a multilayer perceptron; for images, a convolutional network.

    **Arguments:**

    - `env`, `activation`, `squash`, `log_std`: as in
      [`mlp_actor_critic`][lerax_fx.mlp_actor_critic].
    - `width`: of the encoder's layers, and of the memory.
    - `depth`: the number of the encoder's layers (after the convolution, for images).

    **Raises:** as `mlp_actor_critic` does.
    """
    where = "gru_actor_critic"
    observations, actions = _spaces(env)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    hidden = _hidden(where, width, depth, at_least=1)
    torso_key, gru_key, actor_key, critic_key = jax.random.split(key, 4)
    encoding, torso = _torso(where, observations, hidden, activation, torso_key)
    return RecurrentActorCritic(
        encoding,
        torso,
        GRU(width, width, key=gru_key),
        Linear(orthogonal(actor_key, width, policy.parameters, _ACTOR_GAIN)),
        Linear(orthogonal(critic_key, width, 1, _CRITIC_GAIN)),
        policy,
    )


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
    """The usual agent for an environment: convolutional for images (a Box of three axes),
    else a multilayer perceptron; with a memory if one is asked for.

    **Arguments:**

    - `memory`: `"gru"`, or None for none.
    - `width`, `activation`: None for the default of
      [`mlp_actor_critic`][lerax_fx.mlp_actor_critic],
      [`cnn_actor_critic`][lerax_fx.cnn_actor_critic] or
      [`gru_actor_critic`][lerax_fx.gru_actor_critic], which make the agent.
    - `env`, `squash`, `log_std`: as in these.

    **Raises:** as these do, and `HyperparameterError` for an unknown memory.
    """
    if memory is not None and memory not in _MEMORIES:
        raise _unknown_memory(memory)
    spaces = _spaces(env)
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


def q_agent(
    env: Any,
    *,
    key: Key,
    widths: Sequence[int] = (120, 84),
    activation: Activation = "relu",
    dueling: bool = False,
    layer_norm: bool = False,
) -> QAgent:
    """A multilayer perceptron that gives each action's value; for images, behind a
    convolution as in [`cnn_actor_critic`][lerax_fx.cnn_actor_critic].

    With the defaults, the network of CleanRL's and PureJaxRL's DQN.

    **Arguments:**

    - `env`, `activation`: as in [`mlp_actor_critic`][lerax_fx.mlp_actor_critic].
    - `widths`: of the hidden layers.
    - `dueling`: whether value and advantages are told apart (Wang et al. 2016).
    - `layer_norm`: whether hidden layers are normalised before they are activated, which
      lets values be learnt without a target network (Gallici et al. 2024).

    **Raises:** `WiringError` if actions are not `Discrete`, or for observations that it has
    no network for; `HyperparameterError` for an unknown activation or a size below 1.
    """
    where = "q_agent"
    observations, actions = _spaces(env)
    num_actions = _num_actions(where, actions)
    dueling = check_flag(f"{where}: dueling", dueling)
    layer_norm = check_flag(f"{where}: layer_norm", layer_norm)
    sizes = (*check_counts(f"{where}: widths", widths), num_actions + dueling)
    encoding, network = _q_network(
        where, observations, sizes, activation, key, layer_norm=layer_norm
    )
    return QAgent(encoding, network, num_actions, dueling)


def gru_q_agent(
    env: Any,
    *,
    key: Key,
    width: int = 64,
    depth: int = 1,
    activation: Activation = "relu",
) -> RecurrentQAgent:
    """An encoder, a gated recurrent unit, and each action's value, linear in its memory: the
    recurrent Q-network of Hausknecht & Stone 2015, "Deep Recurrent Q-Learning for Partially
    Observable MDPs".

    **Arguments:** as in [`gru_actor_critic`][lerax_fx.gru_actor_critic].

    **Raises:** as [`q_agent`][lerax_fx.q_agent] does.
    """
    where = "gru_q_agent"
    observations, actions = _spaces(env)
    num_actions = _num_actions(where, actions)
    hidden = _hidden(where, width, depth, at_least=1)
    torso_key, gru_key, head_key = jax.random.split(key, 3)
    encoding, torso = _torso(where, observations, hidden, activation, torso_key)
    head = Linear(orthogonal(head_key, width, num_actions, 1.0))
    return RecurrentQAgent(encoding, torso, GRU(width, width, key=gru_key), head, num_actions)


def categorical_q_agent(
    env: Any,
    *,
    key: Key,
    num_atoms: int = 51,
    low: float = -10.0,
    high: float = 10.0,
    widths: Sequence[int] = (120, 84),
    activation: Activation = "relu",
) -> DistributionalQAgent:
    """As [`q_agent`][lerax_fx.q_agent], with a distribution of each action's return over fixed
    atoms: Bellemare et al. 2017, "A Distributional Perspective on Reinforcement Learning",
    section 4.

    **Arguments:**

    - `num_atoms`: how many, evenly spaced; at least 2. By default, atoms are the paper's.
    - `low`, `high`: the lowest and the highest discounted return that can be told.
    - `env`, `widths`, `activation`: as for `q_agent`.

    **Raises:** as `q_agent` does, and `HyperparameterError` if `low` is not below `high`.
    """
    where = "categorical_q_agent"
    num_atoms = check_count(f"{where}: num_atoms", num_atoms, at_least=2)
    if not -math.inf < low < high < math.inf:
        raise HyperparameterError(
            explain(
                f"{where}: low",
                wanted="a finite number below high",
                got=f"low={low}, high={high}",
                fix="Bound the discounted return: the largest reward / (1 - discount) does.",
            )
        )
    support = float(low), float(high)
    return _distributional(where, env, key, num_atoms, support, widths, activation)


def quantile_q_agent(
    env: Any,
    *,
    key: Key,
    num_quantiles: int = 200,
    widths: Sequence[int] = (120, 84),
    activation: Activation = "relu",
) -> DistributionalQAgent:
    """As [`q_agent`][lerax_fx.q_agent], with quantiles of each action's return: Dabney et al.
    2018, "Distributional Reinforcement Learning with Quantile Regression".

    **Arguments:**

    - `num_quantiles`: how many, each of the same probability; by default, the paper's.
    - `env`, `widths`, `activation`: as for `q_agent`.

    **Raises:** as `q_agent` does.
    """
    where = "quantile_q_agent"
    num_quantiles = check_count(f"{where}: num_quantiles", num_quantiles)
    return _distributional(where, env, key, num_quantiles, None, widths, activation)


def _distributional(
    where: str,
    env: Any,
    key: Key,
    num_atoms: int,
    support: tuple[float, float] | None,
    widths: Sequence[int],
    activation: Activation,
) -> DistributionalQAgent:
    observations, actions = _spaces(env)
    num_actions = _num_actions(where, actions)
    sizes = (*check_counts(f"{where}: widths", widths), num_actions * num_atoms)
    encoding, network = _q_network(where, observations, sizes, activation, key)
    return DistributionalQAgent(encoding, network, num_actions, num_atoms, support)


def _num_actions(where: str, actions: Space) -> int:
    if isinstance(actions, Discrete):
        return actions.n
    raise WiringError(
        explain(
            f"{where}: actions",
            wanted="a Discrete space: a value for each action",
            got=f"{actions!r}",
            fix="Pick an environment with discrete actions, or an algorithm for real ones.",
        )
    )


def _q_network(
    where: str,
    space: Space,
    sizes: tuple[int, ...],
    activation: Activation,
    key: Key,
    *,
    layer_norm: bool = False,
    last_gain: float = 1.0,
) -> tuple[Encoding, Callable[..., Any]]:
    """An encoding and a network of layers of these sizes on it, the last one linear."""
    if is_image(space):
        encoding = image_encoding(where, space)
        size = _image_size(encoding)
        return encoding, CNN(
            size,
            sizes,
            key=key,
            activation=activation,
            last_gain=last_gain,
            activate_last=False,
            layer_norm=layer_norm,
        )
    encoding = vector_encoding(where, space)
    sizes = (*encoding.shape, *sizes)
    network = MLP(sizes, key=key, activation=activation, last_gain=last_gain, layer_norm=layer_norm)
    return encoding, network


def deterministic_actor_critic(
    env: Any,
    *,
    key: Key,
    widths: Sequence[int] = (256, 256),
    activation: Activation = "relu",
    num_critics: int = 2,
) -> QActorCritic:
    """Multilayer perceptrons for a deterministic policy, squashed to the bounds of the
    actions, and for critics that value observations and actions.

    With the defaults, the networks of Fujimoto et al. 2018, "Addressing Function
    Approximation Error in Actor-Critic Methods", with layers as wide as CleanRL's.

    **Arguments:**

    - `env`, `activation`: as in [`mlp_actor_critic`][lerax_fx.mlp_actor_critic].
    - `widths`: of the hidden layers of each network.
    - `num_critics`: how many critics; 1 for DDPG.

    **Raises:** `WiringError` if actions are not a `Box` of floats with finite bounds, or for
    observations that it has no network for; `HyperparameterError` for an unknown activation
    or a size below 1.
    """
    where = "deterministic_actor_critic"
    return _q_actor_critic(
        where, env, DeterministicPolicy, None, widths, activation, num_critics, key
    )


def soft_actor_critic(
    env: Any,
    *,
    key: Key,
    widths: Sequence[int] = (256, 256),
    activation: Activation = "relu",
    num_critics: int = 2,
    temperature: Positive = 1.0,
) -> QActorCritic | DiscreteQActorCritic:
    """As [`deterministic_actor_critic`][lerax_fx.deterministic_actor_critic], but the policy
    is a squashed Gaussian whose mean and standard deviation the actor gives, and there is a
    temperature to be learnt. For discrete actions, the policy is a categorical, and each
    critic values all actions at once.

    With the defaults, the networks of Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and
    Applications"; for discrete actions see Christodoulou 2019, "Soft Actor-Critic for Discrete
    Action Settings". Images are seen by a convolution, where actions are discrete.

    **Arguments:**

    - `env`, `widths`, `activation`, `num_critics`: as there.
    - `temperature`: what a nat of entropy is worth, in reward, to begin with.

    **Raises:** `WiringError` for actions that are neither `Discrete` nor a `Box` of floats with
    finite bounds, or for observations that it has no network for; `HyperparameterError` for a
    temperature that is not above 0, an unknown activation, or a size below 1.
    """
    where = "soft_actor_critic"
    price = check_number(f"{where}: temperature", temperature, Interval(0.0, open_low=True))
    log_temperature = jnp.log(jnp.asarray(price))
    count = check_count(f"{where}: num_critics", num_critics)
    widths = check_counts(f"{where}: widths", widths)
    observations, actions = _spaces(env)
    if isinstance(actions, Discrete):
        sizes = (*widths, actions.n)
        actor_key, critic_key = jax.random.split(key)

        def network(key: Key) -> Callable[..., Any]:
            return _q_network(where, observations, sizes, activation, key)[1]

        encoding, actor = _q_network(
            where, observations, sizes, activation, actor_key, last_gain=_ACTOR_GAIN
        )
        critic = jax.vmap(network)(jax.random.split(critic_key, count))
        policy = CategoricalPolicy(actions.n)
        return DiscreteQActorCritic(encoding, actor, critic, policy, log_temperature)
    policy_of = StateDependentGaussianPolicy
    return _q_actor_critic(where, env, policy_of, log_temperature, widths, activation, count, key)


def _q_actor_critic(
    where: str,
    env: Any,
    policy_of: Callable[[ActionBounds], AbstractPolicy],
    log_temperature: Scalar | None,
    widths: Sequence[int],
    activation: Activation,
    num_critics: int,
    key: Key,
) -> QActorCritic:
    observations, actions = _spaces(env)
    bounds = action_bounds(where, actions)
    encoding = vector_encoding(where, observations)
    count = check_count(f"{where}: num_critics", num_critics)
    actor_key, critic_key = jax.random.split(key)
    policy = policy_of(bounds)
    widths = check_counts(f"{where}: widths", widths)
    sizes = (*encoding.shape, *widths, policy.parameters)
    actor = MLP(sizes, key=actor_key, activation=activation, last_gain=_ACTOR_GAIN)
    inputs = encoding.shape[0] + bounds.size
    critic = Critics(count, inputs, widths, key=critic_key, activation=activation)
    return QActorCritic(encoding, actor, critic, policy, bounds, log_temperature)


def _spaces(env: Any) -> tuple[Space, Space]:
    match env:
        case (Space() as observations, Space() as actions):
            return observations, actions
        case _:
            made = make(env)
            return made.observation_space, made.action_space


def _hidden(where: str, width: int, depth: int, *, at_least: int) -> tuple[int, ...]:
    count = check_count(f"{where}: depth", depth, at_least=at_least)
    return (check_count(f"{where}: width", width),) * count


def torso_for(
    where: str, space: Space, width: int, depth: int, activation: Activation, key: Key
) -> tuple[Encoding, Callable[..., Any]]:
    """An encoding of a space's elements, and a network of `depth` activated layers on it;
    behind a convolution, for images.

    **Raises:** `WiringError` for a space without a network; `HyperparameterError` for an
    unknown activation or a size below 1.
    """
    return _torso(where, space, _hidden(where, width, depth, at_least=1), activation, key)


def _torso(
    where: str, space: Space, hidden: tuple[int, ...], activation: Activation, key: Key
) -> tuple[Encoding, Callable[..., Any]]:
    """An encoding and a network of activated layers on it."""
    if is_image(space):
        encoding = image_encoding(where, space)
        return encoding, CNN(_image_size(encoding), hidden, key=key, activation=activation)
    encoding = vector_encoding(where, space)
    mlp = MLP(
        (*encoding.shape, *hidden),
        key=key,
        activation=activation,
        last_gain=HIDDEN_GAIN,
        activate_last=True,
    )
    return encoding, mlp


def _image_size(encoding: Encoding) -> tuple[int, int, int]:
    height, width, channels = encoding.shape
    return height, width, channels


def _unknown_memory(memory: Any) -> HyperparameterError:
    near = difflib.get_close_matches(str(memory).lower(), _MEMORIES, n=1)
    return HyperparameterError(
        explain(
            "actor_critic: memory",
            wanted=f"None, or one of {', '.join(map(repr, _MEMORIES))}",
            got=repr(memory),
            fix=f"Did you mean {near[0]!r}?" if near else "Pick one of those.",
        )
    )
