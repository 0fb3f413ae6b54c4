"""Losses: terms that can be summed, and the sums that have names."""

from lerax_fx.losses.distributional import (
    TakenReturns,
    categorical_loss,
    evaluate_return_distributions,
    quantile_loss,
)
from lerax_fx.losses.evaluation import PolicyEvaluation, evaluate_policy
from lerax_fx.losses.loss import Loss, loss_term
from lerax_fx.losses.policy import clipped_surrogate, entropy, policy_gradient
from lerax_fx.losses.ppo import ppo_loss
from lerax_fx.losses.q import ActionValues, evaluate_action_values, q_loss
from lerax_fx.losses.value import value_loss

__all__ = [
    "ActionValues",
    "Loss",
    "PolicyEvaluation",
    "TakenReturns",
    "categorical_loss",
    "clipped_surrogate",
    "entropy",
    "evaluate_action_values",
    "evaluate_policy",
    "evaluate_return_distributions",
    "loss_term",
    "policy_gradient",
    "ppo_loss",
    "q_loss",
    "quantile_loss",
    "value_loss",
]
