"""Actors with Q-function critics, for SAC, TD3 and DDPG, and their constructors."""

from collections.abc import Callable, Sequence
from typing import Any, final

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_count, check_counts, check_number, suggest_keywords
from lerax_fx.agents.encoding import ACTOR_GAIN, Encoding, network_for, vector_encoding
from lerax_fx.agents.networks import MLP, Activation, Critics
from lerax_fx.agents.policies import (
    AbstractPolicy,
    ActionBounds,
    CategoricalPolicy,
    DeterministicPolicy,
    StateDependentGaussianPolicy,
    action_bounds,
)
from lerax_fx.agents.protocols import AbstractFeedforward, Output
from lerax_fx.envs.registry import spaces_of
from lerax_fx.spaces import Discrete, Space
from lerax_fx.typing import Interval, Key, Positive, Scalar, Tree


@final
class QActorCritic(AbstractFeedforward):
    """An actor for continuous actions with Q-function critics: TD3, DDPG, SAC.

    Its value is the smallest of the critics' values of the policy's mode.

    - `encoding`: of observations as a vector of floats.
    - `actor`: a module from the encoded observation to the policy's `parameters` numbers.
    - `critic`: a module from the encoded observation and an action, as a vector in units of
      half the width between its bounds, to one value for each critic.
    - `policy_head`: from the actor's output to a distribution.
    - `bounds`: of the actions.
    - `log_temperature`: the log of SAC's temperature; `None` for an agent without one.
    """

    encoding: Encoding
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy_head: AbstractPolicy
    bounds: ActionBounds
    log_temperature: Scalar | None = None

    def policy(self, observation: Tree, key: Key) -> distrax.Distribution:
        """The policy's distribution for one observation."""
        del key
        return self.policy_head(self.actor(self.encoding(observation)))

    def q_values(
        self, observation: Tree, action: Float[Array, "..."], key: Key
    ) -> Float[Array, " critics"]:
        """Each critic's value of one action."""
        del key
        unit = jnp.ravel(self.bounds.unscaled(action))
        return self.critic(self.encoding(observation), unit)

    def output(self, observation: Tree, key: Key) -> Output:
        distribution = self.policy(observation, key)
        return Output(distribution, self.q_values(observation, distribution.mode(), key).min())


@final
class DiscreteQActorCritic(AbstractFeedforward):
    """An actor for discrete actions with critics that give a Q-value for each: discrete SAC.

    Its value is the smallest of the critics' values of the policy's mode.

    - `encoding`: of observations as floats.
    - `actor`: a module from the encoded observation to the policy's logits.
    - `critic`: one module from the encoded observation to a value for each action; its arrays
      have a further axis in front, that of the critics.
    - `policy_head`: from the actor's output to a distribution.
    - `log_temperature`: the log of SAC's temperature.
    """

    encoding: Encoding
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy_head: CategoricalPolicy
    log_temperature: Scalar

    @property
    def num_actions(self) -> int:
        """How many actions there are."""
        return self.policy_head.n

    def policy(self, observation: Tree, key: Key) -> distrax.Distribution:
        """The policy's distribution for one observation."""
        del key
        return self.policy_head(self.actor(self.encoding(observation)))

    def q_values(self, observation: Tree, key: Key) -> Float[Array, "critics actions"]:
        """Each critic's value of each action."""
        del key
        features = self.encoding(observation)
        return jax.vmap(lambda critic: critic(features))(self.critic)

    def output(self, observation: Tree, key: Key) -> Output:
        distribution = self.policy(observation, key)
        return Output(distribution, self.q_values(observation, key)[:, distribution.mode()].min())


@suggest_keywords
def deterministic_actor_critic(
    env: Any,
    *,
    key: Key,
    widths: Sequence[int] = (256, 256),
    activation: Activation = "relu",
    num_critics: int = 2,
) -> QActorCritic:
    """A deterministic policy and Q-function critics, of multilayer perceptrons: for TD3 and DDPG.

    With the defaults, the networks of Fujimoto et al. 2018, "Addressing Function
    Approximation Error in Actor-Critic Methods", with layers as wide as CleanRL's.

    **Arguments:**

    - `env`, `activation`: as in [`mlp_actor_critic`][lerax_fx.agents.mlp_actor_critic].
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


@suggest_keywords
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
