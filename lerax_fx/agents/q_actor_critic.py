"""Actor-critics with Q-functions of continuous actions."""

from collections.abc import Callable
from typing import Any, final

import distrax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.actor_critic import AbstractFeedforward
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.output import Output
from lerax_fx.agents.policies.action_bounds import ActionBounds
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.types import Key, Scalar, Tree


@final
class QActorCritic(AbstractFeedforward):
    """An actor for continuous actions, and critics of its actions: TD3, DDPG, SAC.

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
