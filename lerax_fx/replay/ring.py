"""A ring of steps: the newest take the place of the oldest."""

from dataclasses import replace
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from lerax_fx.data.transitions import Transitions
from lerax_fx.replay.observations import Observations
from lerax_fx.types import Count, Tree


@final
class Ring(eqx.Module):
    """The last `rows` steps of each of `num_envs` environments, which step together.

    - `steps`: one axis of `rows * num_envs`: all environments' first step, their second, ...
    - `position`: the row to be written next, from 0 to `rows - 1`.
    - `filled`: how many rows were written. Neither number grows without end: a count of all rows
      that were ever written would overflow.
    - `memories`: for agents with memory, what they remembered before every `stride`-th row; the
      steps of a rollout are so many rows, and windows begin where a rollout did.
    - `observations`: if they are kept once; `steps` then holds the slots of its own in place of
      `observation`, and no `next_observation`.
    - `kept`: how many rows, the newest ones, have all of theirs there; windows are drawn of these.
    """

    steps: Transitions
    position: Count
    filled: Count
    rows: int = eqx.field(static=True)
    memories: Tree = None
    stride: int = eqx.field(static=True, default=1)
    observations: Observations | None = None
    kept: Count | None = None

    @staticmethod
    def empty(like: Transitions, rows: int, observations: int | None = None) -> "Ring":
        """Nothing yet, for transitions like these (shapes will do), `(num_envs, time)`.

        **Arguments:**

        - `observations`: how many of each environment are kept, each once; at least as many as
          twice the steps of a rollout. By default two of each step, which is always enough.
        """

        def room(leaf: Any) -> Array:
            return jnp.zeros((rows * leaf.shape[0], *leaf.shape[2:]), leaf.dtype)

        # Two arrays: one and the same could not be donated twice.
        position, filled = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        seen, kept, stored = None, None, like.without_memory
        if observations is not None:
            seen = Observations.empty(like.observation, like.reward.shape[0], observations)
            slots = jax.ShapeDtypeStruct(like.reward.shape, jnp.int32)
            kept, stored = jnp.zeros((), jnp.int32), _with_slots(stored, slots)
        steps = jax.tree.map(room, stored)
        if not jax.tree.leaves(like.memory):
            return Ring(steps, position, filled, rows, observations=seen, kept=kept)
        stride = like.reward.shape[1]

        def starts(leaf: Any) -> Array:
            return jnp.zeros((rows // stride * leaf.shape[0], *leaf.shape[1:]), leaf.dtype)

        memories = jax.tree.map(starts, like.memory)
        return Ring(steps, position, filled, rows, memories, stride, seen, kept)

    @property
    def num_envs(self) -> int:
        return self.steps.reward.shape[0] // self.rows

    @property
    def remembered(self) -> Count:
        """How many rows can be drawn, the newest ones."""
        return self.filled if self.kept is None else self.kept

    def add(self, new: Transitions) -> "Ring":
        """With the steps `(num_envs, time)` written; `time` divides `rows`."""
        count = new.reward.shape[1]
        start = self.position * self.num_envs

        def write(old: Array, leaf: Array) -> Array:
            rows = jax.lax.collapse(jnp.swapaxes(leaf, 0, 1), 0, 2)
            return jax.lax.dynamic_update_slice_in_dim(old, rows, start, axis=0)

        observations, stored = self.observations, new.without_memory
        if observations is not None:
            observations, slots = observations.add(new)
            stored = _with_slots(stored, slots)
        steps = jax.tree.map(write, self.steps, stored)
        memories = self.memories
        if jax.tree.leaves(memories):
            place = self.position // self.stride * self.num_envs

            def write_memory(old: Array, leaf: Array) -> Array:
                return jax.lax.dynamic_update_slice_in_dim(old, leaf, place, axis=0)

            memories = jax.tree.map(write_memory, memories, new.memory)
        position = (self.position + count) % self.rows
        filled = jnp.minimum(self.filled + count, self.rows)
        ring = Ring(
            steps, position, filled, self.rows, memories, self.stride, observations, self.kept
        )
        return ring if observations is None else ring._forget(observations, count)

    def _forget(self, observations: Observations, count: int) -> "Ring":
        """Without the rows an observation of which was written over by the last `count` rows."""
        rows = jnp.minimum(self.remembered + count, self.rows)
        # Each row has one of each environment at least, so no more are gone than were added.
        age = rows - 1 - jnp.arange(min(2 * count, self.rows))
        slots = self.steps.observation[self.places_of(age)]
        there = observations.there(slots).all(axis=-1)
        rows -= jnp.sum(~there & (age >= 0))
        return replace(self, kept=rows // self.stride * self.stride)

    def starts(self, bits: UInt32[Array, "*shape"], length: int) -> Int[Array, "*shape"]:
        """Places where windows of `length` steps of one environment begin, each as likely, by
        random bits.

        Meaningless while fewer than `length` rows are remembered.
        """
        rows = jnp.maximum((self.remembered - length) // self.stride + 1, 1)
        starts = rows * self.num_envs
        # A remainder prefers small numbers by less than one part in `2**32 / starts`.
        drawn = bits % starts.astype(jnp.uint32)
        row, env = jnp.divmod(drawn.astype(jnp.int32), self.num_envs)
        oldest = (self.position - self.remembered) % self.rows * self.num_envs
        first = oldest + row * self.stride * self.num_envs + env
        return first % (self.rows * self.num_envs)

    def begins_window(self, age: Int[Array, "*ages"], length: int) -> Bool[Array, "*ages"]:
        """Whether a row, the newest of age 0, is there and as many after it as a window takes."""
        begins = (age >= length - 1) & (age < self.remembered)
        return begins & ((self.position - 1 - age) % self.stride == 0)

    def changed(self, count: int, length: int) -> Int[Array, " ages"]:
        """The ages of rows for which the newest `count` may have changed whether a window of
        `length` begins there; and perhaps of others.
        """
        newest = jnp.arange(min(count + length - 1, self.rows))
        if self.kept is None:
            return newest
        forgotten = self.kept + jnp.arange(2 * count)
        return jnp.concatenate([newest, jnp.where(forgotten < self.rows, forgotten, 0)])

    def places_of(self, age: Int[Array, " ages"]) -> Int[Array, "ages environments"]:
        """The places of rows, the newest of age 0."""
        row = (self.position - 1 - age) % self.rows
        return row[:, None] * self.num_envs + jnp.arange(self.num_envs)

    def windows(self, first: Int[Array, "*batch"], length: int) -> Int[Array, "*batch length"]:
        """The places of windows of `length` steps of one environment, which begin at `first`."""
        later = jnp.arange(length) * self.num_envs
        return (first[..., None] + later) % (self.rows * self.num_envs)

    def memory_before(self, first: Int[Array, "*batch"]) -> Tree:
        """What was remembered at the start of windows."""
        row, env = jnp.divmod(first, self.num_envs)
        index = row // self.stride * self.num_envs + env
        return jax.tree.map(lambda x: x.at[index].get(mode="promise_in_bounds"), self.memories)

    def take(self, index: Int[Array, "..."]) -> Transitions:
        """The steps at places."""
        steps = jax.tree.map(lambda x: x.at[index].get(mode="promise_in_bounds"), self.steps)
        if self.observations is None:
            return steps
        env, slot = index % self.num_envs, steps.observation
        seen, following = (self.observations.at(env, place) for place in (slot, slot + 1))
        return replace(steps, observation=seen, next_observation=following)


def _with_slots(steps: Transitions, slots: Any) -> Transitions:
    """Steps whose observations are kept elsewhere."""
    # Not made anew, for they may hold shapes instead of arrays.
    return eqx.tree_at(lambda s: (s.observation, s.next_observation), steps, (slots, None))
