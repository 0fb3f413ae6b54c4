"""Observations and actions, and how their returns should be distributed."""

from typing import final

import equinox as eqx
from jaxtyping import Array, Bool, Float

from lerax_fx._core.arrays import check_leading_axes
from lerax_fx._core.wiring import provided_by
from lerax_fx.types import Tree

provided_by("DistributionTargets", "fx.distributional_td_target(...)")


@final
class DistributionTargets(eqx.Module):
    """What a distribution of returns is to learn.

    - `observation`, `action`: what is valued.
    - `atoms`, `probabilities`: an estimate of how the return from there on is distributed.
    - `weight`, `priority`: of each trajectory, as in [`Transitions`][lerax_fx.Transitions].
    - `memory`, `resets`: as in [`Targets`][lerax_fx.Targets].

    **Raises:** `WiringError` if an observation or action does not begin with the axes that
    the atoms have before their last.
    """

    observation: Tree
    action: Tree
    atoms: Float[Array, "*batch time atoms"]
    probabilities: Float[Array, "*batch time atoms"]
    weight: Float[Array, "*batch"] | None = None
    memory: Tree = None
    resets: Bool[Array, "*batch time"] | None = None
    priority: Float[Array, "*batch"] | None = None

    def __check_init__(self) -> None:
        fields = {"observation": self.observation, "action": self.action}
        check_leading_axes("DistributionTargets", self.atoms.shape[:-1], fields)
