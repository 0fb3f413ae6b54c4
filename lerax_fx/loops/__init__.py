"""Training loops and evaluation."""

from lerax_fx.loops.anakin import AnakinLoop, TrainState, anakin_loop, updates_in
from lerax_fx.loops.evaluation import Evaluation, evaluate

__all__ = [
    "AnakinLoop",
    "Evaluation",
    "TrainState",
    "anakin_loop",
    "evaluate",
    "updates_in",
]
