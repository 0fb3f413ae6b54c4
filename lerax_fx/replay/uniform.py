"""Every window as likely as any other."""

from typing import final

import jax
from jaxtyping import Array, Int, UInt32

from lerax_fx.replay.ring import Ring
from lerax_fx.replay.sampling import AbstractSampling, Drawn
from lerax_fx.types import Key, Tree


@final
class Uniform(AbstractSampling):
    """See [`uniform`][lerax_fx.uniform]."""

    def init(self, ring: Ring) -> tuple[()]:
        del ring
        return ()

    def added(self, state: tuple[()], ring: Ring, count: int, length: int) -> tuple[()]:
        del ring, count, length
        return state

    def draw_ahead(self, key: Key, shape: tuple[int, int]) -> UInt32[Array, "updates batch"]:
        return jax.random.bits(key, (shape[0] * shape[1],)).reshape(shape)

    def draw(
        self, state: tuple[()], ring: Ring, length: int, ahead: Tree, shape: tuple[int, int]
    ) -> Drawn:
        del state, shape
        return Drawn(ring.starts(ahead, length), None)

    def learned(
        self, state: tuple[()], first: Int[Array, "updates batch"], priority: Tree
    ) -> tuple[()]:
        del first, priority
        return state


def uniform() -> Uniform:
    """Every window as likely as any other: the default of [`replay`][lerax_fx.replay].

    Mnih et al. 2015, "Human-level control through deep reinforcement learning", algorithm 1.
    """
    return Uniform()
