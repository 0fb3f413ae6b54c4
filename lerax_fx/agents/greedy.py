"""What agents that take the best action have in common."""

import abc
from typing import final

import distrax
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.types import Scalar, Tree


class AbstractQAgent(AbstractActorCritic):
    """An agent that values actions: its policy takes the best one, whose value is the value
    of the observation. So it acts, and is evaluated, as any actor-critic.
    """

    @abc.abstractmethod
    def action_values(self, observation: Tree) -> Float[Array, " actions"]:
        """The value of each action in one observation."""

    # Nothing is remembered.
    @final
    def initial_memory(self) -> None:
        return None

    @final
    def step(self, memory: None, observation: Tree) -> tuple[None, distrax.Distribution, Scalar]:
        del memory
        return None, *self._act(observation)

    @final
    def unroll(
        self, memory: None, observations: Tree, resets: Bool[Array, " time"]
    ) -> tuple[None, distrax.Distribution, Float[Array, " time"]]:
        del memory, resets
        return None, *jax.vmap(self._act)(observations)

    def _act(self, observation: Tree) -> tuple[distrax.Distribution, Scalar]:
        values = self.action_values(observation)
        return distrax.Greedy(values, dtype=np.int32), values.max()
