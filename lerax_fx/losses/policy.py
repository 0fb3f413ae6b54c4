"""Loss terms for the policy."""

import jax
import jax.numpy as jnp
import rlax

from lerax_fx.data.estimates import Estimates
from lerax_fx.losses.forward import PolicyOutput, forward
from lerax_fx.losses.loss import loss_term
from lerax_fx.types import Metrics, Positive, Scalar


@loss_term(forward)
def clipped_surrogate(
    evaluation: PolicyOutput, data: Estimates, *, clip: Positive = 0.2
) -> tuple[Scalar, Metrics]:
    """PPO's clipped surrogate objective, negated.

    Schulman et al. 2017, "Proximal Policy Optimization Algorithms", eq. 7:

        -mean(min(ratio * advantage, clip(ratio, 1 - clip, 1 + clip) * advantage))

    with `ratio` the probability of the action now over that when it was taken.

    Metrics: `approximate_kl`, the estimator `(ratio - 1) - log ratio` of the divergence of
    the policy from the one that acted (Schulman 2020, "Approximating KL Divergence"), and
    `clip_fraction`, the share of steps whose ratio is outside of the range.

    **Arguments:**

    - `clip`: how far from 1 a ratio may move the objective, above 0.
    """
    log_ratio = evaluation.log_prob(data.rollout.action) - data.rollout.log_prob
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
def policy_gradient(evaluation: PolicyOutput, data: Estimates) -> Scalar:
    """The advantage actor-critic's policy loss, `-mean(log_prob * advantage)`.

    Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning", section 4.
    """
    return -jnp.mean(evaluation.log_prob(data.rollout.action) * data.advantage)


@loss_term(forward)
def entropy(evaluation: PolicyOutput, data: Estimates) -> Scalar:
    """The mean entropy of the policy, in nats; subtract it from a loss as a bonus.

    Williams & Peng 1991, "Function Optimization Using Connectionist Reinforcement Learning
    Algorithms".
    """
    del data
    return jnp.mean(evaluation.entropy())
