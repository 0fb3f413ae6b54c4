"""Actor-critics without a hidden state."""

from collections.abc import Callable
from typing import Any, final

from lerax_fx.agents.actor_critic import AbstractFeedforward
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.linear import only_number
from lerax_fx.agents.output import Output
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.types import Key, Tree


@final
class FeedforwardActorCritic(AbstractFeedforward):
    """Two networks on top of what they share, if they share anything.

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
        return Output(self.policy(self.actor(features)), only_number(self.critic(features)))
