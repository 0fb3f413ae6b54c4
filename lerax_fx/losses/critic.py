"""The loss of critics of real-valued actions."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float

from lerax_fx.agents.q_actor_critic import check_q_actor_critic
from lerax_fx.agents.steps import over_steps
from lerax_fx.data.targets import Targets
from lerax_fx.losses.loss import loss_term
from lerax_fx.types import Metrics, Scalar


@final
class CriticValues(eqx.Module):
    """What each critic says of the action of each step."""

    values: Float[Array, "*batch time critics"]


def evaluate_critics(agent: Any, data: Targets) -> CriticValues:
    """One pass through the agent's critics, for the actions that were taken."""
    check_q_actor_critic("critic_loss", agent)
    axes = data.target.ndim
    return CriticValues(over_steps(agent.critic_values, axes, data.observation, data.action))


@loss_term(evaluate_critics)
def critic_loss(evaluation: CriticValues, data: Targets) -> tuple[Scalar, Metrics]:
    """Half the mean squared difference between the values of the actions taken and targets,
    summed over the critics.

        sum_i mean(0.5 * (Q_i(observation, action) - target)^2)

    Fujimoto et al. 2018, "Addressing Function Approximation Error in Actor-Critic Methods",
    algorithm 1.

    Metrics: `action_value`, the mean value of the actions taken.
    """
    error = evaluation.values - data.target[..., None]
    per_critic = jnp.mean(rlax.l2_loss(error), axis=range(data.target.ndim))
    return jnp.sum(per_critic), {"action_value": jnp.mean(evaluation.values)}
