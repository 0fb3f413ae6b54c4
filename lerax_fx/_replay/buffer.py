"""The replay buffer: a ring buffer of steps, with each observation stored once or twice."""

from dataclasses import replace
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from lerax_fx._core.arrays import common_axes
from lerax_fx.data import Transitions, split_time_axis
from lerax_fx.typing import Count, Tree

ObservationSlots = Int[Array, "environments *time"]


@final
class ObservationBuffer(eqx.Module):
    """Ring buffers of observations, one for each environment, with each observation stored once.

    A step's next observation is the one behind its own. What the following step saw is stored
    only if it is another: after a reset, or if anything came between. So nothing is taken for
    granted about where steps come from.

    - `seen`: one axis of `environments * size`: all that the first saw, the second, ...
    - `last`: the slot of what each environment's newest step led to.

    Slots are counted up to `2 * size`, and stand for those modulo `size`: so it can be told
    which were written over since.
    """

    seen: Tree
    last: Int[Array, " environments"]
    size: int = eqx.field(static=True)

    @staticmethod
    def empty(like: Tree, num_envs: int, size: int) -> "ObservationBuffer":
        """An empty buffer, for observations of these shapes, `(num_envs, time)`."""

        def room(leaf: Any) -> Array:
            return jnp.zeros((num_envs * size, *leaf.shape[2:]), leaf.dtype)

        return ObservationBuffer(jax.tree.map(room, like), jnp.zeros(num_envs, jnp.int32), size)

    def add(self, new: Transitions) -> tuple["ObservationBuffer", ObservationSlots]:
        """Add the observations of steps `(num_envs, time)` and their next ones; and the slots of
        the former.

        At most `2 * time` observations of each environment are added, which `size` has to hold.
        """
        before = jax.tree.map(
            lambda kept, leaf: jnp.concatenate([kept[:, None], leaf[:, :-1]], axis=1),
            self.at(jnp.arange(self.last.size), self.last),
            new.next_observation,
        )
        another = _differ(new.observation, before)
        later = jnp.arange(another.shape[1]) + jnp.cumsum(another, axis=1, dtype=jnp.int32)
        slots = self.last[:, None] + later
        env = jnp.arange(self.last.size)[:, None]
        nowhere = self.last.size * self.size
        own = jnp.where(another, self._index(env, slots), nowhere)
        following = self._index(env, slots + 1)

        def write(old: Array, observation: Array, next_observation: Array) -> Array:
            old = old.at[following].set(next_observation, mode="drop", unique_indices=True)
            return old.at[own].set(observation, mode="drop")

        seen = jax.tree.map(write, self.seen, new.observation, new.next_observation)
        modulus = 2 * self.size
        last = (slots[:, -1] + 1) % modulus
        return ObservationBuffer(seen, last, self.size), slots % modulus

    def at(self, env: Int[Array, "*batch"], slots: Int[Array, "*batch"]) -> Tree:
        """The observations in slots."""
        index = self._index(env, slots)
        return jax.tree.map(lambda x: x.at[index].get(mode="promise_in_bounds"), self.seen)

    def there(self, slots: Int[Array, "*batch environments"]) -> Bool[Array, "*batch environments"]:
        """Whether slots, and those behind them, were not overwritten since.

        Meaningless for a slot of which that was known to be false before the last `add`.
        """
        return (self.last - slots) % (2 * self.size) < self.size

    def _index(self, env: Int[Array, "..."], slots: Int[Array, "..."]) -> Int[Array, "..."]:
        return env * self.size + slots % self.size


def _differ(one: Tree, other: Tree) -> Bool[Array, "environments time"]:
    """Whether steps differ in any number; NaN differs from itself, which only costs memory."""
    differ = [
        jnp.any(a != b, axis=tuple(range(2, a.ndim)))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    ]
    return jnp.any(jnp.stack(differ), axis=0)


@final
class RingBuffer(eqx.Module):
    """The last `rows` steps of each of `num_envs` environments, which step together: of any type of
    data whose arrays begin with the axes `(environments, time)`.

    - `steps`: one axis of `rows * num_envs`: all environments' first step, their second, ...
    - `position`: the row to be written next, from 0 to `rows - 1`.
    - `filled`: how many rows were written. Neither number grows without end: a count of all rows
      that were ever written would overflow.
    - `trajectory_starts`: what has no time axis, of every `stride`-th row: the hidden state of a
      recurrent agent before it. The steps of a rollout are so many rows, and windows begin where
      one did.
    - `observations`: if they are kept once; `steps` then holds the slots of its own in place of
      `observation`, and no `next_observation`.
    - `kept`: how many rows, the newest ones, have all of theirs there; windows are drawn of these.
    """

    steps: Tree
    position: Count
    filled: Count
    rows: int = eqx.field(static=True)
    num_envs: int = eqx.field(static=True)
    trajectory_starts: Tree = None
    stride: int = eqx.field(static=True, default=1)
    observations: ObservationBuffer | None = None
    kept: Count | None = None

    @staticmethod
    def empty(like: Tree, rows: int, observations: int | None = None) -> "RingBuffer":
        """Nothing yet, for data like this (shapes will do), `(num_envs, time)`.

        **Arguments:**

        - `observations`: of `Transitions`, how many of each environment are kept, each once; at
          least as many as twice the steps of a rollout. By default two of each step, which is
          always enough.
        """
        like, starts = split_time_axis(like)
        num_envs, num_steps = common_axes("replay: data", like, 2)

        def room(leaf: Any) -> Array:
            return jnp.zeros((rows * num_envs, *leaf.shape[2:]), leaf.dtype)

        def room_of_starts(leaf: Any) -> Array:
            return jnp.zeros((rows // num_steps * num_envs, *leaf.shape[1:]), leaf.dtype)

        seen, kept = None, None
        if observations is not None:
            seen = ObservationBuffer.empty(like.observation, num_envs, observations)
            slots = jax.ShapeDtypeStruct((num_envs, num_steps), jnp.int32)
            kept, like = jnp.zeros((), jnp.int32), _with_slots(like, slots)
        return RingBuffer(
            jax.tree.map(room, like),
            # Two arrays: one and the same could not be donated twice.
            jnp.zeros((), jnp.int32),
            jnp.zeros((), jnp.int32),
            rows,
            num_envs,
            jax.tree.map(room_of_starts, starts),
            num_steps if jax.tree.leaves(starts) else 1,
            seen,
            kept,
        )

    @property
    def stored(self) -> Count:
        """How many rows can be sampled, the newest ones."""
        return self.filled if self.kept is None else self.kept

    def add(self, new: Tree) -> "RingBuffer":
        """With the steps `(num_envs, time)` written; `time` divides `rows`."""
        new, new_starts = split_time_axis(new)
        count = common_axes("replay: data", new, 2)[1]
        place = self.position * self.num_envs
        place_of_start = self.position // self.stride * self.num_envs

        def write(old: Array, leaf: Array) -> Array:
            rows = jax.lax.collapse(jnp.swapaxes(leaf, 0, 1), 0, 2)
            return jax.lax.dynamic_update_slice_in_dim(old, rows, place, axis=0)

        def write_start(old: Array, leaf: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(old, leaf, place_of_start, axis=0)

        observations = self.observations
        if observations is not None:
            observations, slots = observations.add(new)
            new = _with_slots(new, slots)
        ring = replace(
            self,
            steps=jax.tree.map(write, self.steps, new),
            trajectory_starts=jax.tree.map(write_start, self.trajectory_starts, new_starts),
            position=(self.position + count) % self.rows,
            filled=jnp.minimum(self.filled + count, self.rows),
            observations=observations,
        )
        return ring if observations is None else ring._drop_overwritten(observations, count)

    def _drop_overwritten(self, observations: ObservationBuffer, count: int) -> "RingBuffer":
        """Drop the rows of which an observation was overwritten by the last `count` rows."""
        rows = jnp.minimum(self.stored + count, self.rows)
        # Each row has one of each environment at least, so no more are gone than were added.
        age = rows - 1 - jnp.arange(min(2 * count, self.rows))
        slots = self.steps.observation[self.places_of(age)]
        there = observations.there(slots).all(axis=-1)
        rows -= jnp.sum(~there & (age >= 0))
        return replace(self, kept=rows // self.stride * self.stride)

    def starts(self, bits: UInt32[Array, "*shape"], length: int) -> Int[Array, "*shape"]:
        """Uniformly random places where windows of `length` steps of one environment begin, from
        random bits.

        Meaningless while fewer than `length` rows are stored.
        """
        rows = jnp.maximum((self.stored - length) // self.stride + 1, 1)
        starts = rows * self.num_envs
        # A remainder prefers small numbers by less than one part in `2**32 / starts`.
        drawn = bits % starts.astype(jnp.uint32)
        row, env = jnp.divmod(drawn.astype(jnp.int32), self.num_envs)
        oldest = (self.position - self.stored) % self.rows * self.num_envs
        first = oldest + row * self.stride * self.num_envs + env
        return first % (self.rows * self.num_envs)

    def begins_window(self, age: Int[Array, "*ages"], length: int) -> Bool[Array, "*ages"]:
        """Whether a window begins at a row, the newest of age 0: whether it and the rows after it
        are stored.
        """
        begins = (age >= length - 1) & (age < self.stored)
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

    def sample(self, first: Int[Array, "*batch"], length: int) -> Tree:
        """Windows of `length` steps of one environment, which begin at `first`: data of the type
        that was added, `(*batch, length)`.
        """
        row, env = jnp.divmod(first, self.num_envs)
        index = row // self.stride * self.num_envs + env
        starts = jax.tree.map(
            lambda x: x.at[index].get(mode="promise_in_bounds"), self.trajectory_starts
        )
        return eqx.combine(self.take(self.windows(first, length)), starts)

    def take(self, index: Int[Array, "..."]) -> Tree:
        """The steps at places."""
        steps = jax.tree.map(lambda x: x.at[index].get(mode="promise_in_bounds"), self.steps)
        if self.observations is None:
            return steps
        env, slot = index % self.num_envs, steps.observation
        seen, following = (self.observations.at(env, place) for place in (slot, slot + 1))
        return replace(steps, observation=seen, next_observation=following)


def _with_slots(steps: Transitions, slots: Any) -> Transitions:
    """Steps with slots in place of observations."""
    # Not made anew, for they may hold shapes instead of arrays.
    return eqx.tree_at(lambda s: (s.observation, s.next_observation), steps, (slots, None))
