"""Losses of SAC, TD3 and DDPG: critics, policy and temperature."""

import math
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float

from lerax_fx.agents.protocols import ContinuousQ, DiscreteQ, HasTemperature, check_agent_family
from lerax_fx.agents.unroll import agent_key, batch_apply, split_keys
from lerax_fx.data import Targets
from lerax_fx.errors import WiringError, format_error
from lerax_fx.losses.base import (
    Priority,
    check_discrete_actions,
    loss_term,
    priorities,
    weighted_mean,
)
from lerax_fx.typing import Key, Metrics, Real, Scalar, Tree


@final
class CriticQValues(eqx.Module):
    """Each critic's Q-value of the action of each step."""

    values: Float[Array, "*batch time critics"]


def forward_critics(agent: Any, data: Targets, key: Key) -> CriticQValues:
    """The forward pass of the critics, for the actions taken."""
    family = check_agent_family("q_critic_loss", agent, ContinuousQ, DiscreteQ)
    axes = data.target.shape
    if family is DiscreteQ:
        check_discrete_actions("q_critic_loss", data.action)

    def taken(observation: Tree, action: Tree, key: Key) -> Float[Array, " critics"]:
        if family is DiscreteQ:
            return agent.q_values(observation, key)[:, action]
        return agent.q_values(observation, action, key)

    keys = split_keys(key, axes)
    return CriticQValues(batch_apply(taken, len(axes), data.observation, data.action, keys))


@loss_term(forward_critics)
def q_critic_loss(output: CriticQValues, data: Targets) -> tuple[Scalar, Metrics, Priority | None]:
    """Half the mean squared difference between the values of the actions taken and targets,
    summed over the critics.

        sum_i mean(0.5 * (Q_i(observation, action) - target)^2)

    Fujimoto et al. 2018, "Addressing Function Approximation Error in Actor-Critic Methods",
    algorithm 1.

    Metrics: `q_value`, the mean value of the actions taken. For data with importance weights, by
    which each step's loss is multiplied, the priority of each window is set to
    the critics' mean absolute difference.
    """
    error = output.values - data.target[..., None]
    losses = jnp.sum(rlax.l2_loss(error), axis=-1)
    priority = priorities(jnp.mean(jnp.abs(error), axis=-1), data.weight)
    return weighted_mean(losses, data.weight), {"q_value": jnp.mean(output.values)}, priority


@final
class PolicyQValues(eqx.Module):
    """The first critic's Q-value of the policy's mode at each step."""

    values: Float[Array, "*batch time"]


def forward_dpg(agent: Any, data: Targets, key: Key) -> PolicyQValues:
    """The forward pass of the actor and of the critics, which get no gradient."""
    check_agent_family("dpg_loss", agent, ContinuousQ)
    critic = stop_gradient(agent)

    def value(observation: Tree, key: Key) -> Scalar:
        action = agent.policy(observation, agent_key(key)).mode()
        _check_differentiable(action)
        return critic.q_values(observation, action, agent_key(key, 1))[0]

    axes = data.target.shape
    keys = split_keys(key, axes)
    return PolicyQValues(batch_apply(value, len(axes), data.observation, keys))


def _check_differentiable(action: Any) -> None:
    if not jnp.issubdtype(action.dtype, jnp.inexact):
        raise WiringError(
            format_error(
                "dpg_loss: agent",
                wanted="a policy with continuous actions, through which a gradient goes",
                got=f"actions of {action.dtype}",
                fix="For discrete actions use fx.sac_policy_loss() or fx.q_loss().",
            )
        )


def stop_gradient(agent: Any) -> Any:
    """The agent with a stop gradient on its arrays."""
    arrays, rest = eqx.partition(agent, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


@loss_term(forward_dpg)
def dpg_loss(output: PolicyQValues, data: Targets) -> Scalar:
    """The deterministic policy gradient loss: minus the first critic's Q-value of the policy's
    actions.

        -mean(Q_1(observation, mu(observation)))

    Its gradient is the deterministic policy gradient: Silver et al. 2014, "Deterministic
    Policy Gradient Algorithms", eq. 9. None reaches the critics.
    """
    del data
    return -jnp.mean(output.values)


# Of log(n). Christodoulou 2019 takes 0.98, with which the temperature grows without bound where
# few states leave several good actions (CartPole does).
_DISCRETE_FRACTION = 0.5


@final
class SoftPolicyOutput(eqx.Module):
    """The terms that SAC's policy and temperature losses share.

    - `value`: the smallest of the critics' values: of one action drawn at each step; for
      discrete actions, the mean over the policy.
    - `entropy`: minus the log-probability of that action; for discrete actions, the policy's
      entropy.
    - `log_temperature`: the agent's.
    - `target_entropy`: the default one, in nats.
    - `log_volume`: what an entropy in the units of the actions is larger by than one in units of
      half the width between their bounds, in nats; 0 for discrete actions.
    """

    value: Float[Array, "*batch time"]
    entropy: Float[Array, "*batch time"]
    log_temperature: Scalar
    target_entropy: float = eqx.field(static=True)
    log_volume: Scalar


def check_soft_agent(where: str, agent: Any) -> type:
    """The family of an agent that SAC trains.

    **Raises:** `WiringError` if it has no policy with Q-functions, or no temperature.
    """
    family = check_agent_family(where, agent, ContinuousQ, DiscreteQ)
    check_agent_family(where, agent, HasTemperature)
    return family


def soft_value(
    family: type, agent: Any, critic: Any, observation: Tree, key: Key
) -> tuple[Scalar, Scalar]:
    """The soft value's two parts: the minimum of the critics' Q-values of the policy's action, and
    the policy's entropy.

    Of one action drawn by reparametrisation: its value and minus its log-probability (Haarnoja
    et al. 2018, arXiv 1812.05905, eq. 3). For discrete actions, both are exact and nothing is
    drawn: Christodoulou 2019, eqs. 8 and 10.
    """
    distribution = agent.policy(observation, agent_key(key))
    critic_key = agent_key(key, 1)
    if family is DiscreteQ:
        least = critic.q_values(observation, critic_key).min(axis=0)
        return jnp.sum(distribution.probs * least), distribution.entropy()
    action, log_prob = distribution.sample_and_log_prob(seed=key)
    return critic.q_values(observation, action, critic_key).min(), -log_prob


def forward_sac_policy(agent: Any, data: Targets, key: Key) -> SoftPolicyOutput:
    """The forward pass of the actor and of the critics, which get no gradient."""
    family = check_soft_agent("sac_policy_loss", agent)
    critic = stop_gradient(agent)

    def one_step(observation: Tree, key: Key) -> tuple[Scalar, Scalar]:
        return soft_value(family, agent, critic, observation, key)

    axes = data.target.shape
    keys = split_keys(key, axes)
    value, entropy = batch_apply(one_step, len(axes), data.observation, keys)
    if family is DiscreteQ:
        target_entropy, log_volume = _DISCRETE_FRACTION * math.log(agent.num_actions), jnp.zeros(())
    else:
        target_entropy, log_volume = -float(agent.bounds.size), agent.bounds.log_volume
    return SoftPolicyOutput(value, entropy, agent.log_temperature, target_entropy, log_volume)


@loss_term(forward_sac_policy)
def sac_policy_loss(output: SoftPolicyOutput, data: Targets) -> Scalar:
    """SAC's policy loss: minus the soft value of the policy's actions.

        mean(temperature log pi(a | o) - min_i Q_i(o, a)),  a ~ pi(o)

    Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905),
    eq. 7 and section 6. Actions are drawn by reparametrisation: the gradient goes through
    them. For discrete actions the mean over the policy is taken instead: Christodoulou 2019,
    "Soft Actor-Critic for Discrete Action Settings", eq. 12. No gradient reaches the critics
    or the temperature.
    """
    del data
    temperature = jnp.exp(jax.lax.stop_gradient(output.log_temperature))
    return -jnp.mean(output.value + temperature * output.entropy)


@loss_term(forward_sac_policy)
def temperature_loss(
    output: SoftPolicyOutput, data: Targets, *, target_entropy: Real | None = None
) -> tuple[Scalar, Metrics]:
    """SAC's temperature loss (`alpha_loss`): raises the temperature while the policy's entropy is
    below the target entropy, and lowers it while it is above.

        mean(temperature (-log pi(a | o) - target_entropy)),  a ~ pi(o)

    Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905),
    eq. 18. No gradient reaches the policy.

    **Arguments:**

    - `target_entropy`: in nats; of continuous actions in units of half the width between
      their bounds, of which the uniform distribution has `log(2)` for each number of an action.
      By default minus the count of these numbers, as in the paper; for `n` discrete actions
      `0.5 log(n)`.

    Metrics: `temperature`, and `policy_entropy`, in the units of the actions.
    """
    del data
    wanted = output.target_entropy if target_entropy is None else target_entropy
    entropy = jnp.mean(jax.lax.stop_gradient(output.entropy))
    temperature = jnp.exp(output.log_temperature)
    metrics = {"temperature": temperature, "policy_entropy": entropy}
    return temperature * (entropy - (wanted + output.log_volume)), metrics
