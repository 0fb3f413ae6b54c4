"""Actor-critics with Q-functions of discrete actions."""

from collections.abc import Callable
from typing import Any, final

import distrax
import jax
from jaxtyping import Array, Float

from lerax_fx.agents.actor_critic import AbstractFeedforward
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.output import Output
from lerax_fx.agents.policies.categorical import CategoricalPolicy
from lerax_fx.types import Key, Scalar, Tree


@final
class DiscreteQActorCritic(AbstractFeedforward):
    """An actor for discrete actions, and critics that value all of them: discrete SAC.

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
