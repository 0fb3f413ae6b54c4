"""The loss of action values."""

import functools
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float

from lerax_fx._core.bounds import Positive
from lerax_fx.agents.action_values import action_values, check_choices
from lerax_fx.agents.hidden_state import has_memory
from lerax_fx.agents.remembered_values import check_remembered, values_along
from lerax_fx.data.targets import Targets
from lerax_fx.losses.loss import loss_term
from lerax_fx.losses.weighting import priorities, weighted_mean
from lerax_fx.types import Metrics, Scalar


@final
class ActionValues(eqx.Module):
    """The value of each action at each step."""

    values: Float[Array, "*batch time actions"]


def evaluate_action_values(agent: Any, data: Targets) -> ActionValues:
    """One pass through the agent's network of action values."""
    if not has_memory(agent):
        return ActionValues(action_values("q_loss", agent, data.observation, data.target.ndim))
    check_remembered("q_loss: data", data.memory)
    resets = jnp.zeros(data.target.shape, bool) if data.resets is None else data.resets
    along = functools.partial(values_along, "q_loss", agent)
    for _ in range(data.target.ndim - 1):
        along = jax.vmap(along)
    return ActionValues(along(data.memory, data.observation, resets))


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

    **Raises:** `WiringError`, when traced, for an agent without action values, or for actions
    that are not whole numbers.
    """
    check_choices("q_loss", data.action)
    taken = jnp.take_along_axis(evaluation.values, data.action[..., None], axis=-1)[..., 0]
    error = taken - data.target
    losses = rlax.l2_loss(error) if huber is None else rlax.huber_loss(error, huber)
    metrics = {"action_value": jnp.mean(taken), **priorities(jnp.abs(error), data.weight)}
    return weighted_mean(losses, data.weight), metrics
