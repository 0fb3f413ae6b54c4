"""The loss of a deterministic policy."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.q_actor_critic import check_q_actor_critic
from lerax_fx.agents.steps import over_steps
from lerax_fx.data.targets import Targets
from lerax_fx.errors import WiringError, explain
from lerax_fx.losses.loss import loss_term
from lerax_fx.types import Scalar, Tree


@final
class PolicyValues(eqx.Module):
    """What the first critic says of what the policy would do at each step."""

    values: Float[Array, "*batch time"]


def evaluate_policy_values(agent: Any, data: Targets) -> PolicyValues:
    """One pass through the actor and, held fixed, the critics."""
    check_q_actor_critic("deterministic_policy_loss", agent)
    fixed = held(agent)

    def value(observation: Tree) -> Scalar:
        action = agent.distribution(observation).mode()
        _check_differentiable(action)
        return fixed.critic_values(observation, action)[0]

    return PolicyValues(over_steps(value, data.target.ndim, data.observation))


def _check_differentiable(action: Any) -> None:
    if not jnp.issubdtype(action.dtype, jnp.inexact):
        raise WiringError(
            explain(
                "deterministic_policy_loss: agent",
                wanted="a policy with real-valued actions, which a gradient goes through",
                got=f"actions of {action.dtype}",
                fix="For actions that are choices use fx.soft_policy_loss() or fx.q_loss().",
            )
        )


def held(agent: Any) -> Any:
    """The agent, with no gradient to it."""
    arrays, rest = eqx.partition(agent, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


@loss_term(evaluate_policy_values)
def deterministic_policy_loss(evaluation: PolicyValues, data: Targets) -> Scalar:
    """The value of the policy's own actions, by the first critic, with the sign of a loss.

        -mean(Q_1(observation, mu(observation)))

    Its gradient is the deterministic policy gradient: Silver et al. 2014, "Deterministic
    Policy Gradient Algorithms", eq. 9. None reaches the critics.
    """
    del data
    return -jnp.mean(evaluation.values)
