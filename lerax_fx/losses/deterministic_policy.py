"""The loss of a deterministic policy."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.protocols import ContinuousQ, check_agent_family
from lerax_fx.agents.steps import over_steps
from lerax_fx.agents.unroll import agent_key, split_keys
from lerax_fx.data.targets import Targets
from lerax_fx.errors import WiringError, explain
from lerax_fx.losses.loss import loss_term
from lerax_fx.types import Key, Scalar, Tree


@final
class PolicyValues(eqx.Module):
    """The first critic's value of the policy's mode at each step."""

    values: Float[Array, "*batch time"]


def evaluate_policy_values(agent: Any, data: Targets, key: Key) -> PolicyValues:
    """One forward pass through the actor and, without a gradient to them, the critics."""
    check_agent_family("deterministic_policy_loss", agent, ContinuousQ)
    critic = stop_gradient(agent)

    def value(observation: Tree, key: Key) -> Scalar:
        action = agent.policy(observation, agent_key(key)).mode()
        _check_differentiable(action)
        return critic.q_values(observation, action, agent_key(key, 1))[0]

    axes = data.target.shape
    keys = split_keys(key, axes)
    return PolicyValues(over_steps(value, len(axes), data.observation, keys))


def _check_differentiable(action: Any) -> None:
    if not jnp.issubdtype(action.dtype, jnp.inexact):
        raise WiringError(
            explain(
                "deterministic_policy_loss: agent",
                wanted="a policy with continuous actions, through which a gradient goes",
                got=f"actions of {action.dtype}",
                fix="For discrete actions use fx.soft_policy_loss() or fx.q_loss().",
            )
        )


def stop_gradient(agent: Any) -> Any:
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
