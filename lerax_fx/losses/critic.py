"""The loss of Q-functions of an observation and an action."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float

from lerax_fx.agents.protocols import ContinuousQ, DiscreteQ, check_agent_family
from lerax_fx.agents.steps import over_steps
from lerax_fx.agents.unroll import split_keys
from lerax_fx.data.targets import Targets
from lerax_fx.losses.discrete_actions import check_discrete_actions
from lerax_fx.losses.loss import loss_term
from lerax_fx.losses.weighting import priorities, weighted_mean
from lerax_fx.types import Key, Metrics, Scalar, Tree


@final
class CriticValues(eqx.Module):
    """Each critic's value of the action of each step."""

    values: Float[Array, "*batch time critics"]


def evaluate_critics(agent: Any, data: Targets, key: Key) -> CriticValues:
    """One forward pass through the agent's critics, for the actions that were taken."""
    family = check_agent_family("critic_loss", agent, ContinuousQ, DiscreteQ)
    axes = data.target.shape
    if family is DiscreteQ:
        check_discrete_actions("critic_loss", data.action)

    def taken(observation: Tree, action: Tree, key: Key) -> Float[Array, " critics"]:
        if family is DiscreteQ:
            return agent.q_values(observation, key)[:, action]
        return agent.q_values(observation, action, key)

    keys = split_keys(key, axes)
    return CriticValues(over_steps(taken, len(axes), data.observation, data.action, keys))


@loss_term(evaluate_critics)
def critic_loss(evaluation: CriticValues, data: Targets) -> tuple[Scalar, Metrics]:
    """Half the mean squared difference between the values of the actions taken and targets,
    summed over the critics.

        sum_i mean(0.5 * (Q_i(observation, action) - target)^2)

    Fujimoto et al. 2018, "Addressing Function Approximation Error in Actor-Critic Methods",
    algorithm 1.

    Metrics: `action_value`, the mean value of the actions taken; for data with weights, which
    each step's loss is then multiplied by, `priority`: the critics' mean absolute difference,
    of each window.
    """
    error = evaluation.values - data.target[..., None]
    losses = jnp.sum(rlax.l2_loss(error), axis=-1)
    unlearnt = priorities(jnp.mean(jnp.abs(error), axis=-1), data.weight)
    metrics = {"action_value": jnp.mean(evaluation.values), **unlearnt}
    return weighted_mean(losses, data.weight), metrics
