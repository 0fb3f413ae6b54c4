"""Planning on a model of the environment."""

from lerax_fx.planning.agent import Plan, Planner, PlanningAgent
from lerax_fx.planning.cem import Gaussian, cem
from lerax_fx.planning.constructor import planning_agent

__all__ = ["Gaussian", "Plan", "Planner", "PlanningAgent", "cem", "planning_agent"]
