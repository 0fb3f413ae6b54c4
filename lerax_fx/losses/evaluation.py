"""The one pass through an actor-critic that all on-policy losses share."""

from typing import Any, final

import equinox as eqx
import jax
from jaxtyping import Array, Float

from lerax_fx.data.estimates import Estimates
from lerax_fx.data.rollout import Rollout
from lerax_fx.types import Tree


@final
class PolicyEvaluation(eqx.Module):
    """What an agent says now of the steps of a rollout.

    - `distribution`: over actions; its arrays begin with the rollout's axes.
    - `value`: of each observation.
    """

    distribution: Any
    value: Float[Array, "*batch time"]

    def log_prob(self, action: Tree) -> Float[Array, "*batch time"]:
        """The log-probability of each action."""
        return self._each(lambda distribution, action: distribution.log_prob(action), action)

    def entropy(self) -> Float[Array, "*batch time"]:
        """The entropy of the distribution at each step, in nats."""
        return self._each(lambda distribution: distribution.entropy())

    def _each(self, function: Any, *arguments: Any) -> Any:
        # Distributions are written for one action: called under vmap, they never have to
        # know how many batch axes there are.
        for _ in range(self.value.ndim):
            function = jax.vmap(function)
        return function(self.distribution, *arguments)


def evaluate_rollout(agent: Any, rollout: Rollout) -> PolicyEvaluation:
    """Unroll the agent over each trajectory of a rollout, its memory as it was then."""

    def unroll(trajectory: Rollout) -> PolicyEvaluation:
        _, distribution, value = agent.unroll(
            trajectory.memory, trajectory.observation, trajectory.resets
        )
        return PolicyEvaluation(distribution, value)

    for _ in range(rollout.reward.ndim - 1):
        unroll = jax.vmap(unroll)
    return unroll(rollout)


def evaluate_policy(agent: Any, data: Estimates) -> PolicyEvaluation:
    """[`evaluate_rollout`][] for the losses, whose data are estimates."""
    return evaluate_rollout(agent, data.rollout)
