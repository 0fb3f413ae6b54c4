"""Agents that have a policy and value actions by critics, as SAC and TD3 train them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lerax_fx._core.bounds import check_count, check_counts, check_number
from lerax_fx.agents.activation import Activation
from lerax_fx.agents.constructors.networks import ACTOR_GAIN, network_for
from lerax_fx.agents.critics import Critics
from lerax_fx.agents.discrete_q_actor_critic import DiscreteQActorCritic
from lerax_fx.agents.encoding import vector_encoding
from lerax_fx.agents.mlp import MLP
from lerax_fx.agents.policies import (
    AbstractPolicy,
    ActionBounds,
    CategoricalPolicy,
    DeterministicPolicy,
    StateDependentGaussianPolicy,
    action_bounds,
)
from lerax_fx.agents.q_actor_critic import QActorCritic
from lerax_fx.environments.spaces import Discrete, Space
from lerax_fx.environments.spaces_of import spaces_of
from lerax_fx.types import Interval, Key, Positive, Scalar


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
    num_critics = check_count(f"{where}: num_critics", num_critics)
    widths = check_counts(f"{where}: widths", widths)
    observations, actions = spaces_of(env)
    bounds = action_bounds(where, actions)
    policy = DeterministicPolicy(bounds)
    return _q_actor_critic(
        where, observations, policy, bounds, None, widths, activation, num_critics, key
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
    - `temperature`: the initial temperature, the reward for a nat of entropy; above 0.

    **Raises:** `WiringError` for actions that are neither `Discrete` nor a `Box` of floats with
    finite bounds, or for observations that it has no network for; `HyperparameterError` for a
    temperature that is not above 0, an unknown activation, or a size below 1.
    """
    where = "soft_actor_critic"
    temperature = check_number(f"{where}: temperature", temperature, Interval(0.0, open_low=True))
    log_temperature = jnp.log(jnp.asarray(temperature))
    num_critics = check_count(f"{where}: num_critics", num_critics)
    widths = check_counts(f"{where}: widths", widths)
    observations, actions = spaces_of(env)
    if isinstance(actions, Discrete):
        sizes = (*widths, actions.n)
        actor_key, critic_key = jax.random.split(key)

        def network(key: Key) -> Callable[..., Any]:
            return network_for(where, observations, sizes, activation, key)[1]

        encoding, actor = network_for(
            where, observations, sizes, activation, actor_key, last_gain=ACTOR_GAIN
        )
        critic = jax.vmap(network)(jax.random.split(critic_key, num_critics))
        policy = CategoricalPolicy(actions.n)
        return DiscreteQActorCritic(encoding, actor, critic, policy, log_temperature)
    bounds = action_bounds(where, actions, otherwise="a Discrete space, or ")
    policy = StateDependentGaussianPolicy(bounds)
    return _q_actor_critic(
        where, observations, policy, bounds, log_temperature, widths, activation, num_critics, key
    )


def _q_actor_critic(
    where: str,
    observations: Space,
    policy: AbstractPolicy,
    bounds: ActionBounds,
    log_temperature: Scalar | None,
    widths: Sequence[int],
    activation: Activation,
    num_critics: int,
    key: Key,
) -> QActorCritic:
    encoding = vector_encoding(where, observations)
    actor_key, critic_key = jax.random.split(key)
    sizes = (*encoding.shape, *widths, policy.parameters)
    actor = MLP(sizes, key=actor_key, activation=activation, last_gain=ACTOR_GAIN)
    inputs = encoding.shape[0] + bounds.size
    critic = Critics(num_critics, inputs, widths, key=critic_key, activation=activation)
    return QActorCritic(encoding, actor, critic, policy, bounds, log_temperature)
