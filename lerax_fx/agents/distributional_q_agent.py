"""Agents that value actions by whole distributions of the return."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
from jaxtyping import Array, Float

from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.greedy import AbstractQAgent
from lerax_fx.agents.returns import CategoricalReturns, QuantileReturns, Returns
from lerax_fx.types import Tree


@final
class DistributionalQAgent(AbstractQAgent):
    """A network of distributions of the return, whose policy takes the action of the highest
    mean. Where only means count, it is a `QAgent`.

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

    def return_distributions(self, observation: Tree) -> Returns:
        """The distribution of the return of each action in one observation."""
        return self._returns(self.network(self.encoding(observation)))

    def action_values(self, observation: Tree) -> Float[Array, "{self.num_actions}"]:
        """The mean return of each action in one observation."""
        return self.return_distributions(observation).mean

    def _returns(self, outputs: Float[Array, "{self.num_actions*self.num_atoms}"]) -> Returns:
        numbers = outputs.reshape(self.num_actions, self.num_atoms)
        if self.support is None:
            return QuantileReturns(numbers)
        return CategoricalReturns(numbers, self.support)
