"""Observations and actions, and what their values should be."""

from typing import final

import equinox as eqx
from jaxtyping import Array, Float

from lerax_fx.core.axes import check_leading_axes
from lerax_fx.core.wiring import provided_by
from lerax_fx.types import Tree

provided_by("Targets", "fx.td_target(...), or another target,")


@final
class Targets(eqx.Module):
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
