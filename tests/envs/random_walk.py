"""An environment of one's own: a walk on a line, to its right end."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lerax_fx import Env
from lerax_fx.spaces import Box, Discrete
from lerax_fx.typing import Flag, Key, Scalar, Tree


class RandomWalk(Env):
    """Step left (0) or right (1); each step costs 1; the goal is at `length`."""

    slip: float = 0.0
    length: int = eqx.field(static=True, default=3)

    @property
    def action_space(self) -> Discrete:
        return Discrete(2)

    @property
    def observation_space(self) -> Box:
        return Box(0.0, 1.0, (1,))

    def initial(self, *, key: Key) -> Int[Array, ""]:
        return jnp.zeros((), jnp.int32)

    def transition(
        self, state: Int[Array, ""], action: Int[Array, ""], *, key: Key
    ) -> Int[Array, ""]:
        move = jnp.where(jax.random.bernoulli(key, self.slip), 0, 2 * action - 1)
        return jnp.clip(state + move, 0, self.length)

    def observation(self, state: Int[Array, ""], *, key: Key) -> Float[Array, "1"]:
        return (state / self.length)[None]

    def reward(self, state: Tree, action: Tree, next_state: Tree, *, key: Key) -> Scalar:
        return -jnp.ones(())

    def terminal(self, state: Int[Array, ""], *, key: Key) -> Flag:
        return state == self.length
