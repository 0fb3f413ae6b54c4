"""Gradient steps and learning-rate schedules."""

from lerax_fx.optimization.anneal import anneal
from lerax_fx.optimization.minimize import minimize
from lerax_fx.optimization.optimizer import Optimizer, optimizer

__all__ = ["Optimizer", "anneal", "minimize", "optimizer"]
