"""Acting, training and evaluating."""

from lerax_fx.loops.anakin import AnakinLoop, TrainState, anakin_loop, updates_in
from lerax_fx.loops.check_agent import check_agent
from lerax_fx.loops.evaluate import Evaluation, evaluate
from lerax_fx.loops.rollout import rollout

__all__ = [
    "AnakinLoop",
    "Evaluation",
    "TrainState",
    "anakin_loop",
    "check_agent",
    "evaluate",
    "rollout",
    "updates_in",
]
