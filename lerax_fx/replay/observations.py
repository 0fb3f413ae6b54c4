"""Observations kept once: what a step led to is what the next one saw."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from lerax_fx.data.transitions import Transitions
from lerax_fx.types import Tree

Slots = Int[Array, "environments *time"]


@final
class Observations(eqx.Module):
    """The last `size` observations of each of some environments, each in a ring of its own.

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
    def empty(like: Tree, num_envs: int, size: int) -> "Observations":
        """Nothing yet, for observations like these (shapes will do), `(num_envs, time)`."""

        def room(leaf: Any) -> Array:
            return jnp.zeros((num_envs * size, *leaf.shape[2:]), leaf.dtype)

        return Observations(jax.tree.map(room, like), jnp.zeros(num_envs, jnp.int32), size)

    def add(self, new: Transitions) -> tuple["Observations", Slots]:
        """With what steps `(num_envs, time)` saw and led to; and where they saw it.

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
        return Observations(seen, last, self.size), slots % modulus

    def at(self, env: Int[Array, "*batch"], slots: Int[Array, "*batch"]) -> Tree:
        """What was seen at slots of environments."""
        index = self._index(env, slots)
        return jax.tree.map(lambda x: x.at[index].get(mode="promise_in_bounds"), self.seen)

    def there(self, slots: Int[Array, "*batch environments"]) -> Bool[Array, "*batch environments"]:
        """Whether slots hold what they held, and those behind them.

        Meaningless for a slot of which that was known to be false before the last `add`.
        """
        return (self.last - slots) % (2 * self.size) < self.size

    def _index(self, env: Int[Array, "..."], slots: Int[Array, "..."]) -> Int[Array, "..."]:
        return env * self.size + slots % self.size


def _differ(one: Tree, other: Tree) -> Bool[Array, "environments time"]:
    """Whether any number of each step does; NaN does from itself, which costs room alone."""
    differ = [
        jnp.any(a != b, axis=tuple(range(2, a.ndim)))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    ]
    return jnp.any(jnp.stack(differ), axis=0)
