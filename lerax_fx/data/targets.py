"""Observations and actions, and what their values should be."""

from typing import final

from jaxtyping import Array, Bool, Float

from lerax_fx._core.arrays import check_leading_axes
from lerax_fx._core.checked import Checked
from lerax_fx._core.wiring import provided_by
from lerax_fx.types import Tree

provided_by("Targets", "fx.td_target(...), fx.q_lambda_returns(...) or another target")


@final
class Targets(Checked):
    """What a value function is to learn.

    - `observation`, `action`: what is valued.
    - `target`: an estimate of the return from there on.
    - `weight`: of each trajectory, as in [`Transitions`][lerax_fx.Transitions].
    - `memory`, `resets`: for an agent with memory, what it remembers before the first step of
      each trajectory, and whether an observation begins an episode (`None` if none does).
    - `priority`: of each trajectory, for a replay that samples by priorities: set by the stage that
      learns from the data.

    **Raises:** `WiringError` if an observation or action does not begin with the target's
    axes.
    """

    observation: Tree
    action: Tree
    target: Float[Array, "*batch time"]
    weight: Float[Array, "*batch"] | None = None
    memory: Tree = None
    resets: Bool[Array, "*batch time"] | None = None
    priority: Float[Array, "*batch"] | None = None

    def __check_init__(self) -> None:
        fields = {"observation": self.observation, "action": self.action}
        check_leading_axes("Targets", self.target.shape, fields)
