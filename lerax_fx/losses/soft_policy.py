"""The losses of a policy whose entropy is worth something, and of what it is worth."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.policies.action_bounds import ActionBounds
from lerax_fx.agents.q_actor_critic import check_temperature
from lerax_fx.agents.steps import over_steps
from lerax_fx.core.bounds import Real
from lerax_fx.data.keyed_targets import KeyedTargets
from lerax_fx.losses.deterministic_policy import held
from lerax_fx.losses.loss import loss_term
from lerax_fx.types import Key, Metrics, Scalar, Tree


@final
class SoftPolicyEvaluation(eqx.Module):
    """What the policy would do at each step, and what that is worth.

    - `value`: of one action drawn at each step, by the least of the critics.
    - `log_prob`: of that action.
    - `log_temperature`: the log of what a nat of entropy is worth.
    - `bounds`: of the actions.
    """

    value: Float[Array, "*batch time"]
    log_prob: Float[Array, "*batch time"]
    log_temperature: Scalar
    bounds: ActionBounds


def evaluate_soft_policy(agent: Any, data: KeyedTargets) -> SoftPolicyEvaluation:
    """One pass through the actor and, held fixed, the critics."""
    check_temperature("soft_policy_loss", agent)
    fixed = held(agent)

    def drawn(observation: Tree, key: Key) -> tuple[Scalar, Scalar]:
        action, log_prob = agent.distribution(observation).sample_and_log_prob(seed=key)
        return fixed.critic_values(observation, action).min(), log_prob

    targets = data.targets
    value, log_prob = over_steps(drawn, targets.target.ndim, targets.observation, data.keys)
    return SoftPolicyEvaluation(value, log_prob, agent.log_temperature, agent.bounds)


@loss_term(evaluate_soft_policy)
def soft_policy_loss(evaluation: SoftPolicyEvaluation, data: KeyedTargets) -> Scalar:
    """What the policy's actions are worth, entropy included, with the sign of a loss.

        mean(temperature log pi(a | o) - min_i Q_i(o, a)),  a ~ pi(o)

    Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905),
    eq. 7 and section 6. Actions are drawn by reparametrisation: the gradient goes through
    them. None reaches the critics or the temperature.
    """
    del data
    temperature = jnp.exp(jax.lax.stop_gradient(evaluation.log_temperature))
    return jnp.mean(temperature * evaluation.log_prob - evaluation.value)


@loss_term(evaluate_soft_policy)
def temperature_loss(
    evaluation: SoftPolicyEvaluation, data: KeyedTargets, *, entropy_per_number: Real = -1.0
) -> tuple[Scalar, Metrics]:
    """Raises the temperature while the policy has less entropy than it should, and lowers it
    while it has more.

        mean(temperature (-log pi(a | o) - wanted)),  a ~ pi(o)

    Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905),
    eq. 18. No gradient reaches the policy.

    **Arguments:**

    - `entropy_per_number`: the entropy wanted, in nats for each number of an action, where
      actions are counted in units of half the width between their bounds. The uniform
      distribution between them has `log(2)`; -1 is the paper's.

    Metrics: `temperature`, and `policy_entropy`, in the units of the actions.
    """
    del data
    bounds = evaluation.bounds
    wanted = bounds.size * jnp.asarray(entropy_per_number) + bounds.log_volume
    entropy = -jnp.mean(jax.lax.stop_gradient(evaluation.log_prob))
    temperature = jnp.exp(evaluation.log_temperature)
    metrics = {"temperature": temperature, "policy_entropy": entropy}
    return temperature * (entropy - wanted), metrics
