"""A ring of steps: the newest take the place of the oldest."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from lerax_fx.data.transitions import Transitions
from lerax_fx.types import Count, Key


@final
class Ring(eqx.Module):
    """The last `rows` steps of each of `num_envs` environments, which step together.

    - `steps`: one axis of `rows * num_envs`: all environments' first step, their second, ...
    - `position`: the row to be written next, from 0 to `rows - 1`.
    - `filled`: how many rows hold steps. Neither number grows without end: a count of all rows
      that were ever written would overflow.
    """

    steps: Transitions
    position: Count
    filled: Count
    rows: int = eqx.field(static=True)

    @staticmethod
    def empty(like: Transitions, rows: int) -> "Ring":
        """Nothing yet, for transitions like these (shapes will do), `(num_envs, time)`."""

        def room(leaf: Any) -> Array:
            return jnp.zeros((rows * leaf.shape[0], *leaf.shape[2:]), leaf.dtype)

        none = jnp.zeros((), jnp.int32)
        return Ring(jax.tree.map(room, like), none, none, rows)

    @property
    def num_envs(self) -> int:
        return self.steps.reward.shape[0] // self.rows

    def add(self, new: Transitions) -> "Ring":
        """With the steps `(num_envs, time)` written; `time` divides `rows`."""
        count = new.reward.shape[1]
        start = self.position * self.num_envs

        def write(old: Array, leaf: Array) -> Array:
            rows = jax.lax.collapse(jnp.swapaxes(leaf, 0, 1), 0, 2)
            return jax.lax.dynamic_update_slice_in_dim(old, rows, start, axis=0)

        position = (self.position + count) % self.rows
        filled = jnp.minimum(self.filled + count, self.rows)
        return Ring(jax.tree.map(write, self.steps, new), position, filled, self.rows)

    def starts(self, key: Key, number: int, length: int) -> Int[Array, " number"]:
        """Places where windows of `length` steps of one environment begin, each as likely.

        Meaningless while fewer than `length` rows are filled.
        """
        starts = jnp.maximum(self.filled - length + 1, 1) * self.num_envs
        # A remainder prefers small numbers by less than one part in `2**32 / starts`.
        drawn = jax.random.bits(key, (number,)) % starts.astype(jnp.uint32)
        oldest = (self.position - self.filled) % self.rows * self.num_envs
        return (oldest + drawn.astype(jnp.int32)) % (self.rows * self.num_envs)

    def begins_window(self, age: Int[Array, "*ages"], length: int) -> Bool[Array, "*ages"]:
        """Whether a row, the newest of age 0, is there and as many after it as a window takes."""
        return (age >= length - 1) & (age < self.filled)

    def places_of(self, age: Int[Array, " ages"]) -> Int[Array, "ages environments"]:
        """The places of rows, the newest of age 0."""
        row = (self.position - 1 - age) % self.rows
        return row[:, None] * self.num_envs + jnp.arange(self.num_envs)

    def windows(self, first: Int[Array, "*batch"], length: int) -> Int[Array, "*batch length"]:
        """The places of windows of `length` steps of one environment, which begin at `first`."""
        later = jnp.arange(length) * self.num_envs
        return (first[..., None] + later) % (self.rows * self.num_envs)

    def take(self, index: Int[Array, "..."]) -> Transitions:
        """The steps at places."""
        return jax.tree.map(lambda x: x.at[index].get(mode="promise_in_bounds"), self.steps)
