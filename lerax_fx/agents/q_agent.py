"""Agents that value actions, and take the best."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
from jaxtyping import Array, Float

from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.greedy import AbstractQAgent
from lerax_fx.types import Tree


@final
class QAgent(AbstractQAgent):
    """A network of action values, whose policy takes the best action.

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

    def action_values(self, observation: Tree) -> Float[Array, "{self.num_actions}"]:
        """The value of each action in one observation."""
        outputs = self.network(self.encoding(observation))
        if not self.dueling:
            return outputs
        advantages = outputs[1:]
        return outputs[0] + advantages - advantages.mean()
