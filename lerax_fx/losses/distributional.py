"""The losses of distributions of the return."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float

from lerax_fx.agents.protocols import (
    DistributionalQNetwork,
    check_agent_family,
    check_output,
)
from lerax_fx.agents.returns import (
    CategoricalReturns,
    QuantileReturns,
    returns_of_action,
)
from lerax_fx.agents.unroll import unroll_batch
from lerax_fx.data.distribution_targets import DistributionTargets
from lerax_fx.errors import WiringError, explain
from lerax_fx.losses.loss import loss_term
from lerax_fx.losses.weighting import priorities, weighted_mean
from lerax_fx.types import Key, Metrics, Positive, Scalar


@final
class TakenReturns(eqx.Module):
    """`returns`: of the action taken at each step, in the form that the agent gives them."""

    returns: CategoricalReturns | QuantileReturns


def evaluate_return_distributions(agent: Any, data: DistributionTargets, key: Key) -> TakenReturns:
    """One forward pass through the distributional Q-network."""
    where, axes = "distributional loss", data.atoms.shape[:-1]
    check_agent_family(where, agent, DistributionalQNetwork)
    memory, observation, resets = data.memory, data.observation, data.resets
    output = unroll_batch(where, agent, memory, observation, resets, axes, key)
    check_output(where, output, DistributionalQNetwork)
    return TakenReturns(returns_of_action(output.return_distribution, data.action))


@loss_term(evaluate_return_distributions)
def categorical_loss(evaluation: TakenReturns, data: DistributionTargets) -> tuple[Scalar, Metrics]:
    """The cross entropy between the targets, projected on the agent's atoms, and its returns.

        mean(-sum_i projection(atoms, probabilities)_i log p_i(observation, action))

    Bellemare et al. 2017, "A Distributional Perspective on Reinforcement Learning",
    algorithm 1. For agents of [`categorical_q_agent`][lerax_fx.categorical_q_agent].

    Metrics: `action_value`, the mean value of the actions taken; for data with weights, which
    each step's loss is then multiplied by, `priority`: the divergence of the agent's returns
    from the targets, of each window.

    **Raises:** `WiringError`, when traced, for an agent that gives quantiles.
    """
    returns = evaluation.returns
    if not isinstance(returns, CategoricalReturns):
        where, maker = "categorical_loss", "categorical_q_agent"
        raise _other_form(where, CategoricalReturns, returns, maker, "quantile_loss")
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


@loss_term(evaluate_return_distributions)
def quantile_loss(
    evaluation: TakenReturns, data: DistributionTargets, *, huber: Positive | None = 1.0
) -> tuple[Scalar, Metrics]:
    """The quantile regression loss of the agent's quantiles, with the targets as samples.

        mean(sum_i E_j |fraction_i - 1{error_ij < 0}| L(error_ij)),
        error_ij = target_j - quantile_i(observation, action)

    with `L` the Huber loss: Dabney et al. 2018, "Distributional Reinforcement Learning with
    Quantile Regression", eq. 10. For agents of
    [`quantile_q_agent`][lerax_fx.quantile_q_agent]; the atoms of the targets count alike.

    **Arguments:**

    - `huber`: the error from which on `L` is linear, its slope never more than `huber`;
      above 0; `None` for the absolute value instead (eq. 8).

    Metrics: `action_value`, the mean value of the actions taken; for data with weights, which
    each step's loss is then multiplied by, `priority`: that loss, of each window.

    **Raises:** `WiringError`, when traced, for an agent that gives the logits of fixed atoms.
    """
    returns = evaluation.returns
    if not isinstance(returns, QuantileReturns):
        where, maker = "quantile_loss", "quantile_q_agent"
        raise _other_form(where, QuantileReturns, returns, maker, "categorical_loss")
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
) -> tuple[Scalar, Metrics]:
    metrics = {"action_value": jnp.mean(returns.mean), **priorities(errors, weight)}
    return weighted_mean(losses, weight), metrics


def _other_form(where: str, wanted: type, got: object, maker: str, other: str) -> WiringError:
    """The agent gives its returns in the other form."""
    return WiringError(
        explain(
            f"{where}: agent",
            wanted=f"an agent that gives {wanted.__name__}",
            got=f"one that gives {type(got).__name__}",
            fix=f"Make it with fx.{maker}(env, key=key), or use fx.{other}().",
        )
    )
