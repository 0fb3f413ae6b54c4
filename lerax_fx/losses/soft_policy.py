"""The losses of a policy whose entropy is worth something, and of what it is worth."""

import math
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.bounds import Fraction, Real
from lerax_fx.agents.q_actor_critic import check_temperature
from lerax_fx.agents.steps import over_steps
from lerax_fx.data.keyed_targets import KeyedTargets
from lerax_fx.losses.deterministic_policy import held
from lerax_fx.losses.loss import loss_term
from lerax_fx.types import Key, Metrics, Scalar, Tree


@final
class SoftPolicyEvaluation(eqx.Module):
    """What the policy would do at each step, and what that is worth.

    - `value`: by the least of the critics; of one action drawn at each step, or, where
      actions are choices, the mean over them.
    - `entropy`: minus the log-probability of that action, or the mean over the choices.
    - `log_temperature`: the log of what a nat of entropy is worth.
    - `most_entropy`: of a policy to which all actions are alike.
    - `numbers`: how many real numbers an action has, 0 where actions are choices.
    """

    value: Float[Array, "*batch time"]
    entropy: Float[Array, "*batch time"]
    log_temperature: Scalar
    most_entropy: Scalar
    numbers: int = eqx.field(static=True)


def evaluate_soft_policy(agent: Any, data: KeyedTargets) -> SoftPolicyEvaluation:
    """One pass through the actor and, held fixed, the critics."""
    check_temperature("soft_policy_loss", agent)
    fixed = held(agent)

    def outlook(observation: Tree, key: Key) -> tuple[Scalar, Scalar]:
        return agent.soft_value(fixed, observation, key)

    targets = data.targets
    value, entropy = over_steps(outlook, targets.target.ndim, targets.observation, data.keys)
    numbers = agent.bounds.size if hasattr(agent, "bounds") else 0
    return SoftPolicyEvaluation(value, entropy, agent.log_temperature, agent.most_entropy, numbers)


@loss_term(evaluate_soft_policy)
def soft_policy_loss(evaluation: SoftPolicyEvaluation, data: KeyedTargets) -> Scalar:
    """What the policy's actions are worth, entropy included, with the sign of a loss.

        mean(temperature log pi(a | o) - min_i Q_i(o, a)),  a ~ pi(o)

    Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905),
    eq. 7 and section 6. Actions are drawn by reparametrisation: the gradient goes through
    them. Where they are choices, the mean over them is taken instead: Christodoulou 2019,
    "Soft Actor-Critic for Discrete Action Settings", eq. 12. No gradient reaches the critics
    or the temperature.
    """
    del data
    temperature = jnp.exp(jax.lax.stop_gradient(evaluation.log_temperature))
    return -jnp.mean(evaluation.value + temperature * evaluation.entropy)


@loss_term(evaluate_soft_policy)
def temperature_loss(
    evaluation: SoftPolicyEvaluation,
    data: KeyedTargets,
    *,
    entropy_per_number: Real = -1.0,
    entropy_fraction: Fraction = 0.5,
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
    - `entropy_fraction`: where actions are choices, the entropy wanted as a part of that of
      a policy to which all are alike, in [0, 1]. Christodoulou 2019 takes 0.98, with which
      the temperature grows without bound where few states leave a choice (CartPole does).

    Metrics: `temperature`, and `policy_entropy`, in the units of the actions.
    """
    del data
    if evaluation.numbers:
        # Both count from the uniform policy, whose entropy the scale of the actions is in.
        below = evaluation.numbers * (math.log(2.0) - jnp.asarray(entropy_per_number))
        wanted = evaluation.most_entropy - below
    else:
        wanted = entropy_fraction * evaluation.most_entropy
    entropy = jnp.mean(jax.lax.stop_gradient(evaluation.entropy))
    temperature = jnp.exp(evaluation.log_temperature)
    metrics = {"temperature": temperature, "policy_entropy": entropy}
    return temperature * (entropy - wanted), metrics
