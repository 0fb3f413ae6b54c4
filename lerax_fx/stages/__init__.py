"""Stages of an algorithm: rollouts, advantages, targets, gradient steps, exploration."""

from lerax_fx._replay.sampling import AbstractSampling
from lerax_fx.stages.estimators import (
    gae,
    n_step_returns,
    normalize_advantage,
    q_lambda_returns,
    recompute_values,
    vtrace,
)
from lerax_fx.stages.exploration import (
    AbstractExploration,
    EpsilonGreedy,
    GaussianNoise,
    epsilon_greedy,
    gaussian_noise,
)
from lerax_fx.stages.optimization import Optimizer, anneal, minimize, optimizer
from lerax_fx.stages.rollouts import rollout
from lerax_fx.stages.target_networks import AbstractTargetUpdate, periodic, polyak
from lerax_fx.stages.targets import (
    DistributionalTDTarget,
    SACTarget,
    TD3Target,
    TDTarget,
    distributional_td_target,
    sac_target,
    td3_target,
    td_target,
)

__all__ = [
    "AbstractExploration",
    "AbstractSampling",
    "AbstractTargetUpdate",
    "DistributionalTDTarget",
    "EpsilonGreedy",
    "GaussianNoise",
    "Optimizer",
    "SACTarget",
    "TD3Target",
    "TDTarget",
    "anneal",
    "distributional_td_target",
    "epsilon_greedy",
    "gae",
    "gaussian_noise",
    "minimize",
    "n_step_returns",
    "normalize_advantage",
    "optimizer",
    "periodic",
    "polyak",
    "q_lambda_returns",
    "recompute_values",
    "rollout",
    "sac_target",
    "td3_target",
    "td_target",
    "vtrace",
]
