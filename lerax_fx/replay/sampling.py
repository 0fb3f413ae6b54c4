"""What a replay draws from its memory."""

import abc
from typing import final

import equinox as eqx
from jaxtyping import Array, Float, Int

from lerax_fx._core.schedules import EvaluatesSchedules
from lerax_fx.replay.ring import Ring
from lerax_fx.types import Key, Tree


@final
class Drawn(eqx.Module):
    """Windows that were drawn.

    - `first`: where in the ring each begins.
    - `weight`: how much each is to count, `None` if all count alike.
    """

    first: Int[Array, "updates batch"]
    weight: Float[Array, "updates batch"] | None


class AbstractSampling(EvaluatesSchedules):
    """Which windows are drawn, and what is kept to know it."""

    @property
    def wants_priorities(self) -> bool:
        """Whether the inner transform has to report the metric `priority`."""
        return False

    @abc.abstractmethod
    def init(self, ring: Ring) -> Tree:
        """The state for an empty ring."""

    @abc.abstractmethod
    def added(self, state: Tree, ring: Ring, count: int, length: int) -> Tree:
        """The state after the newest `count` rows of a ring were added; windows have `length`."""

    def draw_ahead(self, key: Key, shape: tuple[int, int]) -> Tree:
        """What chance decides in `draw`, as far as that needs nothing but a key; by default the
        key itself.
        """
        del shape
        return key

    @abc.abstractmethod
    def draw(
        self, state: Tree, ring: Ring, length: int, ahead: Tree, shape: tuple[int, int]
    ) -> Drawn:
        """Windows for so many updates, of so many each; meaningless while none is there.

        `ahead` is what `draw_ahead` gave.
        """

    @abc.abstractmethod
    def learned(self, state: Tree, first: Int[Array, "updates batch"], priority: Tree) -> Tree:
        """The state after the windows that were drawn got new priorities; NaN for none."""
