"""Actors with critics that value their actions."""

import math
from collections.abc import Callable, Sequence
from typing import Any, final

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.policies.action_bounds import ActionBounds
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Key, Scalar, Tree


@final
class QActorCritic(AbstractActorCritic):
    """An actor for real-valued actions, and critics that value its actions: TD3, DDPG, SAC.

    - `encoding`: of observations as a vector of floats.
    - `actor`: a module from the encoded observation to the policy's `parameters` numbers.
    - `critic`: a module from the encoded observation and an action, as a vector in units of
      half the width between its bounds, to one value for each critic.
    - `policy`: from the actor's output to a distribution.
    - `bounds`: of the actions.
    - `log_temperature`: the log of what a nat of the policy's entropy is worth, in reward;
      `None` where entropy is worth nothing.
    """

    encoding: Encoding
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy
    bounds: ActionBounds
    log_temperature: Scalar | None = None

    # Nothing is remembered.
    def initial_memory(self) -> None:
        return None

    def distribution(self, observation: Tree) -> distrax.Distribution:
        """The policy in one observation."""
        return self.policy(self.actor(self.encoding(observation)))

    def critic_values(
        self, observation: Tree, action: Float[Array, "..."]
    ) -> Float[Array, " critics"]:
        """What each critic says of one action."""
        unit = jnp.ravel(self.bounds.unscaled(action))
        return self.critic(self.encoding(observation), unit)

    @property
    def most_entropy(self) -> Scalar:
        """Of a policy to which all actions within the bounds are alike."""
        return self.bounds.log_volume + self.bounds.size * math.log(2.0)

    def soft_value(self, judge: Any, observation: Tree, key: Key) -> tuple[Scalar, Scalar]:
        """What an action drawn from the policy is worth, by the least of the critics of
        `judge`, and minus its log-probability, whose mean is the policy's entropy.
        """
        action, log_prob = self.distribution(observation).sample_and_log_prob(seed=key)
        return judge.critic_values(observation, action).min(), -log_prob

    def step(self, memory: None, observation: Tree) -> tuple[None, distrax.Distribution, Scalar]:
        del memory
        return None, *self._act(observation)

    def unroll(
        self, memory: None, observations: Tree, resets: Bool[Array, " time"]
    ) -> tuple[None, distrax.Distribution, Float[Array, " time"]]:
        del memory, resets
        return None, *jax.vmap(self._act)(observations)

    def _act(self, observation: Tree) -> tuple[distrax.Distribution, Scalar]:
        distribution = self.distribution(observation)
        return distribution, self.critic_values(observation, distribution.mode()).min()


def check_q_actor_critic(where: str, agent: Any) -> None:
    """**Raises:** `WiringError` if the agent has no critics that value actions."""
    _check_has(
        f"{where}: agent",
        agent,
        ("distribution", "critic_values"),
        "fx.deterministic_actor_critic(env, key=key) or fx.soft_actor_critic(env, key=key)",
    )


def check_temperature(where: str, agent: Any) -> None:
    """**Raises:** `WiringError` if the agent has no critics, or puts no price on entropy."""
    _check_has(
        f"{where}: agent",
        agent,
        ("distribution", "critic_values", "soft_value", "most_entropy", "log_temperature"),
        "fx.soft_actor_critic(env, key=key)",
    )


def _check_has(where: str, agent: Any, wanted: Sequence[str], maker: str) -> None:
    missing = [name for name in wanted if getattr(agent, name, None) is None]
    if missing:
        raise WiringError(
            explain(
                where,
                wanted=f"an agent with {', '.join(wanted)}",
                got=f"a {type(agent).__name__} without {', '.join(missing)}",
                fix=f"Make it with {maker}, or add to your agent what it lacks.",
            )
        )
