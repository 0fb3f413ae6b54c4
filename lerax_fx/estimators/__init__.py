"""Transforms from rollouts to advantages and value targets."""

from lerax_fx.estimators.gae import gae
from lerax_fx.estimators.n_step_returns import n_step_returns
from lerax_fx.estimators.normalize_advantage import normalize_advantage
from lerax_fx.estimators.q_lambda_returns import q_lambda_returns
from lerax_fx.estimators.recompute_values import recompute_values
from lerax_fx.estimators.vtrace import vtrace

__all__ = [
    "gae",
    "n_step_returns",
    "normalize_advantage",
    "q_lambda_returns",
    "recompute_values",
    "vtrace",
]
