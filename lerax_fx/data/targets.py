"""Observations and actions, and what their values should be."""

from typing import final

from jaxtyping import Array, Float

from lerax_fx.core.axes import check_leading_axes
from lerax_fx.core.checked import Checked
from lerax_fx.core.wiring import provided_by
from lerax_fx.types import Tree

provided_by("Targets", "fx.td_target(...), fx.q_lambda_returns(...) or another target")


@final
class Targets(Checked):
    """What a value function is to learn.

    - `observation`, `action`: what is valued.
    - `target`: an estimate of the return from there on.

    **Raises:** `WiringError` if an observation or action does not begin with the target's
    axes.
    """

    observation: Tree
    action: Tree
    target: Float[Array, "*batch time"]

    def __check_init__(self) -> None:
        fields = {"observation": self.observation, "action": self.action}
        check_leading_axes("Targets", self.target.shape, fields)
