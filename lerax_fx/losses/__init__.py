"""Losses: terms that can be summed, and the losses of the algorithms here."""

from lerax_fx.losses.base import Loss, LossOutput, loss_term
from lerax_fx.losses.model import ModelPrediction, dynamics_loss, forward_model
from lerax_fx.losses.on_policy import (
    PolicyOutput,
    clipped_surrogate,
    entropy,
    forward,
    policy_gradient,
    ppo_loss,
    value_loss,
)
from lerax_fx.losses.q import (
    ActionReturns,
    QValues,
    c51_loss,
    forward_q,
    forward_return_distributions,
    q_loss,
    quantile_regression_loss,
)
from lerax_fx.losses.sac_td3 import (
    CriticQValues,
    PolicyQValues,
    SoftPolicyOutput,
    dpg_loss,
    forward_critics,
    forward_dpg,
    forward_sac_policy,
    q_critic_loss,
    sac_policy_loss,
    temperature_loss,
)

__all__ = [
    "ActionReturns",
    "CriticQValues",
    "Loss",
    "LossOutput",
    "ModelPrediction",
    "PolicyOutput",
    "PolicyQValues",
    "QValues",
    "SoftPolicyOutput",
    "c51_loss",
    "clipped_surrogate",
    "dpg_loss",
    "dynamics_loss",
    "entropy",
    "forward",
    "forward_critics",
    "forward_dpg",
    "forward_model",
    "forward_q",
    "forward_return_distributions",
    "forward_sac_policy",
    "loss_term",
    "policy_gradient",
    "ppo_loss",
    "q_critic_loss",
    "q_loss",
    "quantile_regression_loss",
    "sac_policy_loss",
    "temperature_loss",
    "value_loss",
]
