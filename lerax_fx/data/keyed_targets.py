"""Targets, and the chance that a loss on them needs."""

from typing import final

import equinox as eqx

from lerax_fx._core.arrays import check_leading_axes
from lerax_fx._core.wiring import provided_by
from lerax_fx.data.targets import Targets
from lerax_fx.types import Tree

provided_by("KeyedTargets", "fx.with_keys(...), around this stage,")


@final
class KeyedTargets(eqx.Module):
    """Targets, and a random key for each step of them.

    - `targets`: what was there before.
    - `keys`: random keys that begin with the target's axes.

    **Raises:** `WiringError` if the keys do not.
    """

    targets: Targets
    keys: Tree

    def __check_init__(self) -> None:
        check_leading_axes("KeyedTargets", self.targets.target.shape, {"keys": self.keys})
