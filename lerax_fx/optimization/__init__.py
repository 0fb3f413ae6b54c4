"""Gradient steps and learning-rate schedules."""

from lerax_fx.optimization.anneal import anneal
from lerax_fx.optimization.minimize import minimize

__all__ = ["anneal", "minimize"]
