"""The loss of action values."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float

from lerax_fx.agents.protocols import QNetwork, check_agent_family, check_q_values
from lerax_fx.agents.unroll import unroll_batch
from lerax_fx.data.targets import Targets
from lerax_fx.losses.discrete_actions import check_discrete_actions
from lerax_fx.losses.loss import loss_term
from lerax_fx.losses.weighting import priorities, weighted_mean
from lerax_fx.types import Key, Metrics, Positive, Scalar


@final
class ActionValues(eqx.Module):
    """The value of each action at each step."""

    values: Float[Array, "*batch time actions"]


def evaluate_action_values(agent: Any, data: Targets, key: Key) -> ActionValues:
    """One forward pass through the Q-network."""
    check_agent_family("q_loss", agent, QNetwork)
    axes = data.target.shape
    memory, observation, resets = data.memory, data.observation, data.resets
    output = unroll_batch("q_loss", agent, memory, observation, resets, axes, key)
    check_q_values("q_loss", output, axes)
    return ActionValues(output.q_values)


@loss_term(evaluate_action_values)
def q_loss(
    evaluation: ActionValues, data: Targets, *, huber: Positive | None = None
) -> tuple[Scalar, Metrics]:
    """Half the mean squared difference between the values of the actions taken and targets.

        mean(0.5 * (Q(observation, action) - target)^2)

    Mnih et al. 2015, "Human-level control through deep reinforcement learning", eq. 2.

    **Arguments:**

    - `huber`: the difference from which on the loss is linear, its slope never more than
      `huber`; above 0; `None` for nowhere.

    Metrics: `action_value`, the mean value of the actions taken; for data with weights, which
    each step's loss is then multiplied by, `priority`: the absolute difference, of each window.

    **Raises:** `WiringError`, when traced, for an agent that is no Q-network, or for actions
    that are not integers.
    """
    check_discrete_actions("q_loss", data.action)
    taken = jnp.take_along_axis(evaluation.values, data.action[..., None], axis=-1)[..., 0]
    error = taken - data.target
    losses = rlax.l2_loss(error) if huber is None else rlax.huber_loss(error, huber)
    metrics = {"action_value": jnp.mean(taken), **priorities(jnp.abs(error), data.weight)}
    return weighted_mean(losses, data.weight), metrics
