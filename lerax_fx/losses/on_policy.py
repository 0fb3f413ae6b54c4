"""Losses of actor-critics: policy gradient, PPO, value and entropy."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_flag, check_number, declared_intervals, suggest_keywords
from lerax_fx.agents.protocols import (
    ActorCritic,
    check_agent_family,
    check_output,
    check_stochastic,
)
from lerax_fx.agents.unroll import unroll_batch
from lerax_fx.data import Estimates, Rollout
from lerax_fx.losses.base import Loss, loss_term
from lerax_fx.typing import Key, Metrics, NonNegative, Positive, Scalar, Tree


@final
class PolicyOutput(eqx.Module):
    """The current agent's outputs on a rollout: policy and values.

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
    """Unroll the agent over each trajectory of a rollout, from its stored hidden state."""
    check_agent_family(where, agent, ActorCritic)
    axes = rollout.reward.shape
    memory, observation, resets = rollout.memory, rollout.observation, rollout.resets
    output = unroll_batch(where, agent, memory, observation, resets, axes, key)
    check_output(where, output, ActorCritic)
    return PolicyOutput(output.distribution, output.value)


def forward(agent: Any, data: Estimates, key: Key) -> PolicyOutput:
    """Unroll the agent over each trajectory, from the stored hidden state: the forward pass of the
    on-policy losses.

    **Raises:** `WiringError` if the agent is no actor-critic.
    """
    return forward_rollout("policy loss", agent, data.rollout, key)


@loss_term(forward)
def clipped_surrogate(
    output: PolicyOutput, data: Estimates, *, clip: Positive = 0.2
) -> tuple[Scalar, Metrics]:
    """PPO's clipped surrogate objective, as a loss.

    Schulman et al. 2017, "Proximal Policy Optimization Algorithms", eq. 7:

        -mean(min(ratio * advantage, clip(ratio, 1 - clip, 1 + clip) * advantage))

    with `ratio` the probability of the action under the current policy over that under the
    behaviour policy.

    Metrics: `approximate_kl`, the estimator `(ratio - 1) - log ratio` of the divergence of
    the policy from the behaviour policy (Schulman 2020, "Approximating KL Divergence"), and
    `clip_fraction`, the share of steps whose ratio is outside of the range.

    **Arguments:**

    - `clip`: how far from 1 a ratio may move the objective, above 0.
    """
    log_ratio = output.log_prob(data.rollout.action) - data.rollout.log_prob
    ratio = jnp.exp(log_ratio)

    def surrogate(ratio: jax.Array, advantage: jax.Array) -> Scalar:
        # Nothing that is trained here is in the advantage; a stop would only keep gradients
        # from the hyperparameters that are.
        return rlax.clipped_surrogate_pg_loss(ratio, advantage, clip, use_stop_gradient=False)

    for _ in range(ratio.ndim - 1):
        surrogate = jax.vmap(surrogate)
    outside = jnp.abs(ratio - 1.0) > clip
    metrics = {
        "approximate_kl": jnp.mean((ratio - 1.0) - log_ratio),
        "clip_fraction": jnp.mean(outside, dtype=ratio.dtype),
    }
    return jnp.mean(surrogate(ratio, data.advantage)), jax.lax.stop_gradient(metrics)


@loss_term(forward)
def policy_gradient(output: PolicyOutput, data: Estimates) -> Scalar:
    """The policy-gradient loss of advantage actor-critic, `-mean(log_prob * advantage)`.

    Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", section 4.
    """
    return -jnp.mean(output.log_prob(data.rollout.action) * data.advantage)


@loss_term(forward)
def entropy(output: PolicyOutput, data: Estimates) -> Scalar:
    """The mean entropy of the policy, in nats; subtract it from a loss as a bonus.

    Williams & Peng 1991, "Function Optimization Using Connectionist Reinforcement Learning
    Algorithms".
    """
    del data
    return jnp.mean(output.entropy())


@loss_term(forward)
def value_loss(output: PolicyOutput, data: Estimates, *, clip: Positive | None = None) -> Scalar:
    """Half the mean squared error of the values.

        mean(0.5 * (value - target)^2)

    With `clip`, the larger of that and the same for a value that is kept within `clip` of
    the one recorded when acting, as in PPO's original code (Huang et al. 2022, "The 37
    Implementation Details of Proximal Policy Optimization", detail 9).

    **Arguments:**

    - `clip`: above 0, in the units of the return; `None` for no clipping.
    """
    losses = rlax.l2_loss(output.value, data.target)
    if clip is not None:
        old = data.rollout.value
        clipped = old + jnp.clip(output.value - old, -1.0 * jnp.asarray(clip), clip)
        losses = jnp.maximum(losses, rlax.l2_loss(clipped, data.target))
    return jnp.mean(losses)


@suggest_keywords
def ppo_loss(
    *,
    clip: Positive = 0.2,
    value_weight: NonNegative = 0.5,
    entropy_weight: NonNegative = 0.01,
    clip_value: bool = True,
) -> Loss[Estimates]:
    """PPO's loss (Schulman et al. 2017, eq. 9):

        clipped_surrogate(clip) + value_weight * value_loss() - entropy_weight * entropy()

    **Arguments:**

    - `clip`: the range of the probability ratio, above 0.
    - `value_weight`, `entropy_weight`: of at least 0.
    - `clip_value`: whether the value loss is clipped, by the same range.

    **Raises:** `HyperparameterError` for a value out of range.
    """
    intervals = declared_intervals(ppo_loss)
    value_weight = check_number(
        "ppo_loss: value_weight", value_weight, intervals["value_weight"], schedule=True
    )
    entropy_weight = check_number(
        "ppo_loss: entropy_weight", entropy_weight, intervals["entropy_weight"], schedule=True
    )
    clip_value = check_flag("ppo_loss: clip_value", clip_value)
    return (
        clipped_surrogate(clip=clip)
        + value_weight * value_loss(clip=clip if clip_value else None)
        - entropy_weight * entropy()
    )
