"""Losses of Q agents: DQN, C51 and quantile regression."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float

from lerax_fx.agents.protocols import (
    DistributionalQNetwork,
    QNetwork,
    check_agent_family,
    check_output,
    check_q_values,
)
from lerax_fx.agents.returns import CategoricalReturns, QuantileReturns, returns_of_action
from lerax_fx.agents.unroll import unroll_batch
from lerax_fx.data import DistributionTargets, Targets
from lerax_fx.errors import WiringError, format_error
from lerax_fx.losses.base import (
    Priority,
    check_discrete_actions,
    loss_term,
    priorities,
    weighted_mean,
)
from lerax_fx.typing import Key, Metrics, Positive, Scalar


@final
class QValues(eqx.Module):
    """Q-values of each action at each step."""

    values: Float[Array, "*batch time actions"]


def forward_q(agent: Any, data: Targets, key: Key) -> QValues:
    """The forward pass of the Q-network."""
    check_agent_family("q_loss", agent, QNetwork)
    axes = data.target.shape
    memory, observation, resets = data.memory, data.observation, data.resets
    output = unroll_batch("q_loss", agent, memory, observation, resets, axes, key)
    check_q_values("q_loss", output, axes)
    return QValues(output.q_values)


@loss_term(forward_q)
def q_loss(
    output: QValues, data: Targets, *, huber: Positive | None = None
) -> tuple[Scalar, Metrics, Priority | None]:
    """Half the mean squared difference between the values of the actions taken and targets.

        mean(0.5 * (Q(observation, action) - target)^2)

    Mnih et al. 2015, "Human-level control through deep reinforcement learning", eq. 2.

    **Arguments:**

    - `huber`: the difference from which on the loss is linear, its slope never more than
      `huber`; above 0; `None` for nowhere.

    Metrics: `q_value`, the mean value of the actions taken. For data with importance weights, by
    which each step's loss is multiplied, the priority of each window is set to
    the absolute difference.

    **Raises:** `WiringError`, when traced, for an agent that is no Q-network, or for actions
    that are not integers.
    """
    check_discrete_actions("q_loss", data.action)
    taken = jnp.take_along_axis(output.values, data.action[..., None], axis=-1)[..., 0]
    error = taken - data.target
    losses = rlax.l2_loss(error) if huber is None else rlax.huber_loss(error, huber)
    priority = priorities(jnp.abs(error), data.weight)
    return weighted_mean(losses, data.weight), {"q_value": jnp.mean(taken)}, priority


@final
class ActionReturns(eqx.Module):
    """Return distributions of the actions taken, in the agent's form."""

    returns: CategoricalReturns | QuantileReturns


def forward_return_distributions(agent: Any, data: DistributionTargets, key: Key) -> ActionReturns:
    """The forward pass of the distributional Q-network."""
    where, axes = "distributional loss", data.atoms.shape[:-1]
    check_agent_family(where, agent, DistributionalQNetwork)
    memory, observation, resets = data.memory, data.observation, data.resets
    output = unroll_batch(where, agent, memory, observation, resets, axes, key)
    check_output(where, output, DistributionalQNetwork)
    return ActionReturns(returns_of_action(output.return_distribution, data.action))


@loss_term(forward_return_distributions)
def c51_loss(
    output: ActionReturns, data: DistributionTargets
) -> tuple[Scalar, Metrics, Priority | None]:
    """The cross entropy between the targets, projected on the agent's atoms, and its returns.

        mean(-sum_i projection(atoms, probabilities)_i log p_i(observation, action))

    Bellemare et al. 2017, "A Distributional Perspective on Reinforcement Learning",
    algorithm 1. For agents of [`categorical_q_agent`][lerax_fx.categorical_q_agent].

    Metrics: `q_value`, the mean value of the actions taken. For data with importance weights, by
    which each step's loss is multiplied, the priority of each window is set to
    the divergence of the agent's returns from the targets.

    **Raises:** `WiringError`, when traced, for an agent that gives quantiles.
    """
    returns = output.returns
    if not isinstance(returns, CategoricalReturns):
        where, maker = "c51_loss", "categorical_q_agent"
        raise _other_form(where, CategoricalReturns, returns, maker, "quantile_regression_loss")
    support = returns.atoms

    def one(
        logits: Float[Array, " atoms"],
        atoms: Float[Array, " target_atoms"],
        probabilities: Float[Array, " target_atoms"],
    ) -> tuple[Scalar, Scalar]:
        wanted = rlax.categorical_l2_project(atoms, probabilities, support)
        cross_entropy = -jnp.dot(wanted, jax.nn.log_softmax(logits))
        return cross_entropy, cross_entropy + jnp.sum(jax.scipy.special.xlogy(wanted, wanted))

    losses, divergences = _over_steps(one, returns.logits, data.atoms, data.probabilities)
    return _mean_with_metrics(returns, losses, divergences, data.weight)


@loss_term(forward_return_distributions)
def quantile_regression_loss(
    output: ActionReturns, data: DistributionTargets, *, huber: Positive | None = 1.0
) -> tuple[Scalar, Metrics, Priority | None]:
    """The quantile regression loss of the agent's quantiles, with the targets as samples.

        mean(sum_i E_j |fraction_i - 1{error_ij < 0}| L(error_ij)),
        error_ij = target_j - quantile_i(observation, action)

    with `L` the Huber loss: Dabney et al. 2018, "Distributional Reinforcement Learning with
    Quantile Regression", eq. 10. For agents of
    [`quantile_q_agent`][lerax_fx.quantile_q_agent]; the atoms of the targets count alike.

    **Arguments:**

    - `huber`: the error from which on `L` is linear, its slope never more than `huber`;
      above 0; `None` for the absolute value instead (eq. 8).

    Metrics: `q_value`, the mean value of the actions taken. For data with importance weights, by
    which each step's loss is multiplied, the priority of each window is set to
    that loss.

    **Raises:** `WiringError`, when traced, for an agent that gives the logits of fixed atoms.
    """
    returns = output.returns
    if not isinstance(returns, QuantileReturns):
        where, maker = "quantile_regression_loss", "quantile_q_agent"
        raise _other_form(where, QuantileReturns, returns, maker, "c51_loss")
    fractions = returns.fractions

    def one(quantiles: Float[Array, " atoms"], atoms: Float[Array, " target_atoms"]) -> Scalar:
        if huber is None:
            return rlax.quantile_regression_loss(quantiles, fractions, atoms)
        # rlax branches on its parameter, which therefore cannot be traced; the Huber loss of
        # an error is that of parameter 1 in units of its own parameter.
        kappa = jnp.asarray(huber)
        scaled = quantiles / kappa, fractions, atoms / kappa
        return kappa**2 * rlax.quantile_regression_loss(*scaled, huber_param=1.0)

    losses = _over_steps(one, returns.quantiles, data.atoms)
    return _mean_with_metrics(returns, losses, losses, data.weight)


def _over_steps(one: Any, *arrays: Float[Array, "..."]) -> Any:
    """`one` for each step, given arrays whose last axis is its own."""
    axes = arrays[0].shape[:-1]
    results = jax.vmap(one)(*(x.reshape(-1, x.shape[-1]) for x in arrays))
    return jax.tree.map(lambda x: x.reshape(axes), results)


def _mean_with_metrics(
    returns: Any,
    losses: Float[Array, "*batch time"],
    errors: Float[Array, "*batch time"],
    weight: Float[Array, "*batch"] | None,
) -> tuple[Scalar, Metrics, Priority | None]:
    metrics = {"q_value": jnp.mean(returns.mean)}
    return weighted_mean(losses, weight), metrics, priorities(errors, weight)


def _other_form(where: str, wanted: type, got: object, maker: str, other: str) -> WiringError:
    """The agent gives its returns in the other form."""
    return WiringError(
        format_error(
            f"{where}: agent",
            wanted=f"an agent that gives {wanted.__name__}",
            got=f"one that gives {type(got).__name__}",
            fix=f"Make it with fx.{maker}(env, key=key), or use fx.{other}().",
        )
    )
