"""Q-networks without a hidden state."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
from jaxtyping import Array, Float

from lerax_fx.agents.actor_critic import AbstractFeedforward
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.output import QOutput, greedy_output
from lerax_fx.types import Key, Tree


@final
class QAgent(AbstractFeedforward):
    """A Q-network with the greedy policy.

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

    def output(self, observation: Tree, key: Key) -> QOutput:
        del key
        return greedy_output(self._q_values(self.network(self.encoding(observation))))

    def _q_values(self, outputs: Float[Array, " outputs"]) -> Float[Array, "{self.num_actions}"]:
        if not self.dueling:
            return outputs
        advantages = outputs[1:]
        return outputs[0] + advantages - advantages.mean()
