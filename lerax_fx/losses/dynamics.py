"""The loss of a model of an environment."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.core.bounds import NonNegative
from lerax_fx.data.transitions import Transitions
from lerax_fx.losses.loss import loss_term
from lerax_fx.types import Metrics, Scalar


@final
class Prediction(eqx.Module):
    """How far a model is off at each step."""

    observation_error: Float[Array, "*batch time size"]
    reward: Float[Array, "*batch time"]


def evaluate_dynamics(agent: Any, data: Transitions) -> Prediction:
    """Let the agent's model run over each window from its first observation on."""
    model = agent.model

    def predict(window: Transitions) -> Prediction:
        def one_step(state: Array, inputs: Any) -> tuple[Array, Any]:
            step, begins = inputs
            state = jnp.where(begins, model.encode(step.observation), state)
            state, reward = model.step(state, step.action)
            return state, (model.scaled_error(state, step.next_observation), reward)

        begins = jnp.concatenate([jnp.ones_like(window.done[:1]), window.done[:-1]])
        first = model.encode(jax.tree.map(lambda x: x[0], window.observation))
        _, (error, reward) = jax.lax.scan(one_step, first, (window, begins))
        return Prediction(error, reward)

    for _ in range(data.reward.ndim - 1):
        predict = jax.vmap(predict)
    return predict(data)


@loss_term(evaluate_dynamics)
def dynamics_loss(
    evaluation: Prediction, data: Transitions, *, reward_weight: NonNegative = 1.0
) -> tuple[Scalar, Metrics]:
    observation = 0.5 * jnp.mean(jnp.sum(evaluation.observation_error**2, -1))
    reward = 0.5 * jnp.mean((evaluation.reward - data.reward) ** 2)
    total = observation + reward_weight * reward
    return total, {"observation_error": observation, "reward_error": reward}
