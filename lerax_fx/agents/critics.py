"""Networks that value actions which are real numbers."""

from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.activation import Activation
from lerax_fx.agents.linear import only_number
from lerax_fx.agents.mlp import MLP
from lerax_fx.types import Key


@final
class Critics(eqx.Module):
    """Several multilayer perceptrons from an observation and an action to a value.

    - `networks`: one, whose arrays have a further axis in front, that of the critics.
    """

    networks: MLP

    def __init__(
        self, number: int, inputs: int, widths: Sequence[int], *, key: Key, activation: Activation
    ):
        def network(key: Key) -> MLP:
            return MLP((inputs, *widths, 1), key=key, activation=activation)

        self.networks = jax.vmap(network)(jax.random.split(key, number))

    def __call__(
        self, features: Float[Array, " features"], action: Float[Array, " numbers"]
    ) -> Float[Array, " critics"]:
        """The values of one action."""
        inputs = jnp.concatenate([features, action])
        return jax.vmap(lambda network: only_number(network(inputs)))(self.networks)
