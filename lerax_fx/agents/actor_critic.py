"""The base class of agents."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from lerax_fx.agents.output import Output
from lerax_fx.types import Key, Tree


class AbstractActorCritic(eqx.Module):
    """A policy and a value function, which may share a hidden state: a base class for agents
    of the [`ActorCritic`][lerax_fx.agents.ActorCritic] protocol, which says what each method
    has to do. A subclass defines `initial_memory` and `step`.

    Everything is written for one environment; batches are made outside, with `jax.vmap`.
    Distributions leave `vmap` and `scan` as PyTrees whose arrays have the further axes, so
    call a batch of them under `vmap` again: `jax.vmap(lambda d, a: d.log_prob(a))(ds, actions)`.
    """

    @abc.abstractmethod
    def initial_memory(self) -> Tree:
        """The hidden state at the start of an episode: a PyTree of arrays, None for none."""

    @abc.abstractmethod
    def step(self, memory: Tree, observation: Tree, key: Key) -> tuple[Tree, Output]:
        """One environment, one step: the memory after it, and the output."""

    def unroll(
        self, memory: Tree, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[Tree, Output]:
        """One trajectory: what one `step` after the other would give, and by default does.
        Step `t` gets the key `jax.random.fold_in(key, t)`.

        **Arguments:**

        - `memory`: as it was before the first step.
        - `observations`: their arrays begin with the axis of time.
        - `resets`: bool, `(time,)`. Whether `observations[t]` begins an episode: then the
          memory becomes `initial_memory()` before step `t`.

        Gives the memory after the last step, and the outputs, `(time, ...)`.
        """
        initial = self.initial_memory()

        def one_step(memory: Tree, inputs: tuple[Tree, Array, Key]) -> tuple[Tree, Output]:
            observation, reset, key = inputs
            memory = jax.tree.map(lambda a, b: jnp.where(reset, a, b), initial, memory)
            return self.step(memory, observation, key)

        keys = step_keys(key, resets.shape[0])
        return jax.lax.scan(one_step, memory, (observations, resets, keys))


class AbstractFeedforward(AbstractActorCritic):
    """An agent without a hidden state: a subclass defines `output`."""

    @abc.abstractmethod
    def output(self, observation: Tree, key: Key) -> Output:
        """What the networks give for one observation."""

    def initial_memory(self) -> None:
        return None

    def step(self, memory: None, observation: Tree, key: Key) -> tuple[None, Output]:
        del memory
        return None, self.output(observation, key)

    def unroll(
        self, memory: None, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[None, Output]:
        del memory
        return None, jax.vmap(self.output)(observations, step_keys(key, resets.shape[0]))


def step_keys(key: Key, steps: int) -> Array:
    """The key of each step of a trajectory."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(steps))
