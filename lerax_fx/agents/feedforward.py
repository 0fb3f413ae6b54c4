"""Actor-critics without memory."""

from collections.abc import Callable
from typing import Any, final

import distrax
import jax
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.linear import only_number
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.types import Scalar, Tree


@final
class FeedforwardActorCritic(AbstractActorCritic):
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

    # Nothing is remembered.
    def initial_memory(self) -> None:
        return None

    def step(self, memory: None, observation: Tree) -> tuple[None, distrax.Distribution, Scalar]:
        del memory
        return None, *self._act(observation)

    def unroll(
        self, memory: None, observations: Tree, resets: Bool[Array, " time"]
    ) -> tuple[None, distrax.Distribution, Float[Array, " time"]]:
        del memory, resets
        return None, *jax.vmap(self._act)(observations)

    def _act(self, observation: Tree) -> tuple[distrax.Distribution, Scalar]:
        x = self.encoding(observation)
        features = x if self.torso is None else self.torso(x)
        return self.policy(self.actor(features)), only_number(self.critic(features))
