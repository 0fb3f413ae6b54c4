"""What the on-policy stages ask of an agent."""

import abc
from typing import Protocol

import distrax
import equinox as eqx
from jaxtyping import Array, Bool

from lerax_fx.types import Tree


class ActorCritic(Protocol):
    """The three methods, for static types: any object that has them will do.

    See [`AbstractActorCritic`][lerax_fx.AbstractActorCritic] for what each has to do.
    """

    def initial_memory(self) -> Tree: ...

    def step(self, memory: Tree, observation: Tree) -> tuple[Tree, distrax.Distribution, Array]:
        """Act and judge: one environment, one step."""
        ...

    def unroll(
        self, memory: Tree, observations: Tree, resets: Array
    ) -> tuple[Tree, distrax.Distribution, Array]:
        """The same as `step` after `step`: one trajectory."""
        ...


class AbstractActorCritic(eqx.Module):
    """A policy and a value function, which may share a memory.

    Everything is written for one environment; batches are made outside, with `jax.vmap`.
    Distributions leave `vmap` and `scan` as PyTrees whose arrays have the further axes, so
    call a batch of them under `vmap` again: `jax.vmap(lambda d, a: d.log_prob(a))(ds, actions)`.
    """

    @abc.abstractmethod
    def initial_memory(self) -> Tree:
        """The memory at the start of an episode: a PyTree of arrays, None for no memory."""

    @abc.abstractmethod
    def step(self, memory: Tree, observation: Tree) -> tuple[Tree, distrax.Distribution, Array]:
        """One environment, one step.

        Gives the memory after it, a distribution over one action, and the value of the
        observation: float, `()`.
        """

    @abc.abstractmethod
    def unroll(
        self, memory: Tree, observations: Tree, resets: Bool[Array, " time"]
    ) -> tuple[Tree, distrax.Distribution, Array]:
        """One trajectory: what one `step` after the other would give.

        **Arguments:**

        - `memory`: as it was before the first step.
        - `observations`: their arrays begin with the axis of time.
        - `resets`: bool, `(time,)`. Whether `observations[t]` begins an episode: then the
          memory becomes `initial_memory()` before step `t`.

        Gives the memory after the last step, the distributions and the values, `(time,)`.
        """
