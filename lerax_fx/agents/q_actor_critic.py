"""Actors with critics that value their actions."""

from collections.abc import Callable
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
from lerax_fx.types import Scalar, Tree


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
    """**Raises:** `WiringError` if the agent has no critics of real-valued actions."""
    wanted = ("distribution", "critic_values")
    missing = [name for name in wanted if not callable(getattr(agent, name, None))]
    if missing:
        raise WiringError(
            explain(
                f"{where}: agent",
                wanted=f"an agent with the methods {' and '.join(wanted)}",
                got=f"a {type(agent).__name__} without {' and '.join(missing)}",
                fix="Make it with fx.deterministic_actor_critic(env, key=key) or "
                "fx.soft_actor_critic(env, key=key), or add the methods to your agent.",
            )
        )


def check_temperature(where: str, agent: Any) -> None:
    """**Raises:** `WiringError` if the agent has no critics, or puts no price on entropy."""
    check_q_actor_critic(where, agent)
    if getattr(agent, "log_temperature", None) is None:
        raise WiringError(
            explain(
                f"{where}: agent",
                wanted="an agent with a log_temperature",
                got=f"a {type(agent).__name__} without",
                fix="Make it with fx.soft_actor_critic(env, key=key).",
            )
        )
