"""Agents that value actions, and take the best."""

from collections.abc import Callable
from typing import Any, final

import distrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.encoding import Encoding
from lerax_fx.types import Scalar, Tree


@final
class QAgent(AbstractActorCritic):
    """A network of action values: its policy takes the best action, whose value is the
    value of the observation. So it acts, and is evaluated, as any actor-critic.

    - `encoding`: of observations as floats.
    - `network`: a module from the encoded observation to a number for each action; if
      `dueling`, to one for each action and one more.
    - `num_actions`: how many there are.
    - `dueling`: whether these are advantages and the observation's value, as in Wang et al.
      2016, "Dueling Network Architectures for Deep Reinforcement Learning", eq. 9.
    """

    encoding: Encoding
    network: Callable[..., Any]
    num_actions: int = eqx.field(static=True)
    dueling: bool = eqx.field(static=True, default=False)

    # Nothing is remembered.
    def initial_memory(self) -> None:
        return None

    def action_values(self, observation: Tree) -> Float[Array, "{self.num_actions}"]:
        """The value of each action in one observation."""
        outputs = self.network(self.encoding(observation))
        if not self.dueling:
            return outputs
        advantages = outputs[1:]
        return outputs[0] + advantages - advantages.mean()

    def step(self, memory: None, observation: Tree) -> tuple[None, distrax.Distribution, Scalar]:
        del memory
        return None, *self._act(observation)

    def unroll(
        self, memory: None, observations: Tree, resets: Bool[Array, " time"]
    ) -> tuple[None, distrax.Distribution, Float[Array, " time"]]:
        del memory, resets
        return None, *jax.vmap(self._act)(observations)

    def _act(self, observation: Tree) -> tuple[distrax.Distribution, Scalar]:
        values = self.action_values(observation)
        return distrax.Greedy(values, dtype=np.int32), values.max()
