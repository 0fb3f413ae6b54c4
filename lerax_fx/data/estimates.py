"""A rollout with what was estimated from it."""

from typing import final

from jaxtyping import Array, Float

from lerax_fx._core.checked import Checked
from lerax_fx._core.wiring import provided_by
from lerax_fx.data.rollout import Rollout

provided_by("Estimates", "fx.gae(...), or another estimator,")


@final
class Estimates(Checked):
    """A rollout, the advantage of each action in it, and the target for each value.

    - `rollout`: what it was estimated from.
    - `advantage`: how much better the action was than the policy's average.
    - `target`: an estimate of the return from `rollout.observation` on, for the value
      function to learn.
    """

    rollout: Rollout
    advantage: Float[Array, "*batch time"]
    target: Float[Array, "*batch time"]

    def __check_init__(self) -> None:
        _of_one_shape(self.rollout.reward, self.advantage, self.target)


def _of_one_shape(
    reward: Float[Array, "*batch time"],
    advantage: Float[Array, "*batch time"],
    target: Float[Array, "*batch time"],
) -> None:
    """Checked where the type checks are on."""
    del reward, advantage, target
