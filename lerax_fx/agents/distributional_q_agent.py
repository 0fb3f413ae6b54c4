"""Distributional Q-networks."""

from collections.abc import Callable
from typing import Any, final

import distrax
import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from lerax_fx.agents.actor_critic import AbstractFeedforward
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.output import DistributionalQOutput
from lerax_fx.agents.returns import CategoricalReturns, QuantileReturns, Returns
from lerax_fx.types import Key, Tree


@final
class DistributionalQAgent(AbstractFeedforward):
    """A network of distributions of the return, whose policy takes the action of the highest
    mean. Where only means count, it is a Q-network.

    - `encoding`: of observations as floats.
    - `network`: a module from the encoded observation to `num_actions * num_atoms` numbers.
    - `num_actions`, `num_atoms`: how many there are.
    - `support`: the lowest and the highest atom, if the network gives the logits of fixed
      ones; `None` if it gives quantiles. It is structure: an optimiser that decays weights
      must not move it.
    """

    encoding: Encoding
    network: Callable[..., Any]
    num_actions: int = eqx.field(static=True)
    num_atoms: int = eqx.field(static=True)
    support: tuple[float, float] | None = eqx.field(static=True, default=None)

    def output(self, observation: Tree, key: Key) -> DistributionalQOutput:
        del key
        returns = self._returns(self.network(self.encoding(observation)))
        q_values = returns.mean
        greedy = distrax.Greedy(q_values, dtype=np.int32)
        return DistributionalQOutput(greedy, q_values.max(), q_values, returns)

    def _returns(self, outputs: Float[Array, "{self.num_actions*self.num_atoms}"]) -> Returns:
        numbers = outputs.reshape(self.num_actions, self.num_atoms)
        if self.support is None:
            return QuantileReturns(numbers)
        return CategoricalReturns(numbers, self.support)
