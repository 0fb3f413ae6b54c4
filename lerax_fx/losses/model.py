"""The loss of a dynamics model."""

import dataclasses
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.protocols import HasModel, check_agent_family
from lerax_fx.data import Transitions
from lerax_fx.losses.base import loss_term
from lerax_fx.typing import Flag, Key, Metrics, NonNegative, Scalar


@final
class ModelPrediction(eqx.Module):
    """The predictions of a dynamics model for each step.

    - `error`: of the observation after it, in units of half the width between bounds.
    - `reward`: for it.
    - `termination`: the log-odds that it terminated the episode.
    - `failed`: whether the model's equation could not be solved.
    """

    error: Float[Array, "*batch time size"]
    reward: Float[Array, "*batch time"]
    termination: Float[Array, "*batch time"]
    failed: Bool[Array, "*batch time"]


def forward_model(agent: Any, data: Transitions, key: Key) -> ModelPrediction:
    """Unroll the agent's model over each window, from its first observation; at an episode boundary
    it starts again from the next observation.

    **Raises:** `WiringError` if the agent has no model.
    """
    # Imported when a model is trained, not with the other losses.
    from lerax_fx.nde.observations import split_time

    del key
    check_agent_family("dynamics_loss", agent, HasModel)
    model: Any = agent.model

    def predict(window: Transitions) -> ModelPrediction:
        def one_step(state: Array, inputs: tuple[Transitions, Flag]) -> tuple[Array, Any]:
            data, begins = inputs
            state = jnp.where(begins, model.encode(split_time(data.observation)[0]), state)
            observed, dt = split_time(data.next_observation)
            following, failed = model.flow(state, data.action, dt)
            error = model.error(following, observed)
            # Only observations train the vector field. Rewards are on another scale: with theirs in
            # it, two seeds of five had not solved Pendulum after 2,400 steps; so, all have by
            # 2,000.
            constant = jax.lax.stop_gradient((state, following))
            reward, termination = model.reward_and_termination(
                constant[0], data.action, constant[1], dt
            )
            return following, (error, reward, termination, failed)

        first = model.encode(split_time(jax.tree.map(lambda x: x[0], window.observation))[0])
        begins = jnp.concatenate([jnp.zeros_like(window.done[:1]), window.done[:-1]])
        return ModelPrediction(*jax.lax.scan(one_step, first, (window, begins))[1])

    for _ in range(data.reward.ndim - 1):
        predict = jax.vmap(predict)
    # Of the steps alone: a memory, or a weight, has no axis of time.
    return predict(dataclasses.replace(data, memory=None, weight=None))


@loss_term(forward_model)
def dynamics_loss(
    output: ModelPrediction,
    data: Transitions,
    *,
    reward_weight: NonNegative = 1.0,
    termination_weight: NonNegative = 1.0,
) -> tuple[Scalar, Metrics]:
    """Multi-step prediction loss of a dynamics model: half the mean squared errors of the
    observations and rewards that it predicts over windows, and the cross entropy of terminations.

        mean(0.5 |error|^2) + reward_weight mean(0.5 (predicted - reward)^2)
            + termination_weight mean(-log P(terminated or not))

    Every step of a window but the first is predicted from what was predicted before it: Du et
    al. 2020, "Model-based Reinforcement Learning for Semi-Markov Decision Processes with
    Neural ODEs", section 3. Rewards and terminations are predicted from predicted states with a
    stop gradient: only observations train the vector field. The last term is there if the model has
    a `termination_head`.

    Metrics: `observation_error`, `reward_error`, and `termination_error`, 0 without a
    `termination_head`: the three means, unweighted; and `failed`, the fraction of steps whose
    equation could not be solved, in which the state stays and the vector field gets no gradient.
    """
    observation = 0.5 * jnp.mean(jnp.sum(output.error**2, axis=-1))
    reward = 0.5 * jnp.mean((output.reward - data.reward) ** 2)
    termination = jnp.mean(_cross_entropy(output.termination, data.terminated))
    total = observation + reward_weight * reward + termination_weight * termination
    metrics = {
        "observation_error": observation,
        "reward_error": reward,
        "termination_error": termination,
        "failed": jnp.mean(output.failed.astype(total.dtype)),
    }
    return total, metrics


def _cross_entropy(
    log_odds: Float[Array, "..."], terminated: Bool[Array, "..."]
) -> Float[Array, "..."]:
    """The cross entropy of terminations; 0 for a model that predicts none."""
    known = log_odds > -jnp.inf
    # Made safe before it is used: a gradient would see infinity times 0.
    safe = jnp.where(known, log_odds, 0.0)
    return jnp.where(known, jax.nn.softplus(safe) - safe * terminated, 0.0)
