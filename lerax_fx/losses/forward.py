"""The forward pass through an actor-critic that all on-policy losses share."""

from typing import Any, final

import equinox as eqx
import jax
from jaxtyping import Array, Float

from lerax_fx.agents.protocols import (
    ActorCritic,
    check_agent_family,
    check_output,
    check_stochastic,
)
from lerax_fx.agents.unroll import unroll_batch
from lerax_fx.data.estimates import Estimates
from lerax_fx.data.rollout import Rollout
from lerax_fx.types import Key, Tree


@final
class PolicyOutput(eqx.Module):
    """The agent's outputs now for the steps of a rollout.

    - `distribution`: over actions; its arrays begin with the rollout's axes.
    - `value`: of each observation.
    """

    distribution: Any
    value: Float[Array, "*batch time"]

    def log_prob(self, action: Tree) -> Float[Array, "*batch time"]:
        """The log-probability of each action.

        **Raises:** `WiringError` for the distribution of a greedy or a deterministic policy.
        """
        check_stochastic("log_prob", self.distribution)
        return self._each(lambda distribution, action: distribution.log_prob(action), action)

    def entropy(self) -> Float[Array, "*batch time"]:
        """The entropy of the distribution at each step, in nats.

        **Raises:** `WiringError` for the distribution of a greedy or a deterministic policy.
        """
        check_stochastic("entropy", self.distribution)
        return self._each(lambda distribution: distribution.entropy())

    def _each(self, function: Any, *arguments: Any) -> Any:
        # Distributions are written for one action: called under vmap, they never have to
        # know how many batch axes there are.
        for _ in range(self.value.ndim):
            function = jax.vmap(function)
        return function(self.distribution, *arguments)


def forward_rollout(where: str, agent: Any, rollout: Rollout, key: Key) -> PolicyOutput:
    """Unroll the agent over each trajectory of a rollout, its memory as it was then."""
    check_agent_family(where, agent, ActorCritic)
    axes = rollout.reward.shape
    memory, observation, resets = rollout.memory, rollout.observation, rollout.resets
    output = unroll_batch(where, agent, memory, observation, resets, axes, key)
    check_output(where, output, ActorCritic)
    return PolicyOutput(output.distribution, output.value)


def forward(agent: Any, data: Estimates, key: Key) -> PolicyOutput:
    """Unroll the agent over each trajectory of the estimates' rollout, its memory as it was
    when it acted: the forward pass of the on-policy losses.

    **Raises:** `WiringError` if the agent is no actor-critic.
    """
    return forward_rollout("policy loss", agent, data.rollout, key)
