"""Actors with critics that value each of a few actions."""

from collections.abc import Callable
from typing import Any, final

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.policies.categorical import CategoricalPolicy
from lerax_fx.types import Count, Key, Scalar, Tree


@final
class DiscreteQActorCritic(AbstractActorCritic):
    """An actor that chooses among actions, and critics that value all of them: discrete SAC.

    - `encoding`: of observations as floats.
    - `actor`: a module from the encoded observation to the policy's logits.
    - `critic`: one module from the encoded observation to a value for each action; its arrays
      have a further axis in front, that of the critics.
    - `policy`: from the actor's output to a distribution.
    - `log_temperature`: the log of what a nat of the policy's entropy is worth, in reward.
    """

    encoding: Encoding
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: CategoricalPolicy
    log_temperature: Scalar

    # Nothing is remembered.
    def initial_memory(self) -> None:
        return None

    def distribution(self, observation: Tree) -> distrax.Distribution:
        """The policy in one observation."""
        return self.policy(self.actor(self.encoding(observation)))

    def choice_values(self, observation: Tree) -> Float[Array, "critics actions"]:
        """What each critic says of each action."""
        features = self.encoding(observation)
        return jax.vmap(lambda critic: critic(features))(self.critic)

    def critic_values(self, observation: Tree, action: Count) -> Float[Array, " critics"]:
        """What each critic says of one action."""
        return self.choice_values(observation)[:, action]

    @property
    def most_entropy(self) -> Scalar:
        """Of a policy to which all actions are alike."""
        return jnp.log(jnp.asarray(float(self.policy.n)))

    def soft_value(self, judge: Any, observation: Tree, key: Key) -> tuple[Scalar, Scalar]:
        """What the policy does is worth, by the least of the critics of `judge`, and its
        entropy: both exact, so that nothing is drawn. Christodoulou 2019, eqs. 8 and 10.
        """
        del key
        distribution: Any = self.distribution(observation)
        least = judge.choice_values(observation).min(axis=0)
        return jnp.sum(distribution.probs * least), distribution.entropy()

    def step(self, memory: None, observation: Tree) -> tuple[None, distrax.Distribution, Scalar]:
        del memory
        return None, *self._act(observation)

    def unroll(
        self, memory: None, observations: Tree, resets: Bool[Array, " time"]
    ) -> tuple[None, distrax.Distribution, Float[Array, " time"]]:
        del memory, resets
        return None, *jax.vmap(self._act)(observations)

    def _act(self, observation: Tree) -> tuple[distrax.Distribution, Scalar]:
        distribution: Any = self.distribution(observation)
        return distribution, self.critic_values(observation, distribution.mode()).min()
