"""Losses: terms that can be summed, and the sums that have names."""

from lerax_fx.losses.critic import CriticValues, critic_loss, evaluate_critics
from lerax_fx.losses.deterministic_policy import (
    PolicyValues,
    deterministic_policy_loss,
    evaluate_policy_values,
)
from lerax_fx.losses.distributional import (
    TakenReturns,
    categorical_loss,
    evaluate_return_distributions,
    quantile_loss,
)
from lerax_fx.losses.dynamics import Prediction, dynamics_loss, evaluate_dynamics
from lerax_fx.losses.forward import PolicyOutput, forward
from lerax_fx.losses.loss import Loss, loss_term
from lerax_fx.losses.policy import clipped_surrogate, entropy, policy_gradient
from lerax_fx.losses.ppo import ppo_loss
from lerax_fx.losses.q import ActionValues, evaluate_action_values, q_loss
from lerax_fx.losses.soft_policy import (
    SoftPolicyOutput,
    evaluate_soft_policy,
    soft_policy_loss,
    temperature_loss,
)
from lerax_fx.losses.value import value_loss

__all__ = [
    "ActionValues",
    "CriticValues",
    "Loss",
    "PolicyOutput",
    "PolicyValues",
    "Prediction",
    "SoftPolicyOutput",
    "TakenReturns",
    "categorical_loss",
    "clipped_surrogate",
    "critic_loss",
    "deterministic_policy_loss",
    "dynamics_loss",
    "entropy",
    "evaluate_action_values",
    "evaluate_critics",
    "evaluate_dynamics",
    "evaluate_policy_values",
    "evaluate_return_distributions",
    "evaluate_soft_policy",
    "forward",
    "loss_term",
    "policy_gradient",
    "ppo_loss",
    "q_loss",
    "quantile_loss",
    "soft_policy_loss",
    "temperature_loss",
    "value_loss",
]
