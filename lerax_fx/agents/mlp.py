"""The multilayer perceptron."""

import math
from collections.abc import Sequence
from typing import Final, final

import equinox as eqx
from jaxtyping import Array, Float

from lerax_fx._core.bounds import check_count
from lerax_fx.agents.activation import Activation, activation_function
from lerax_fx.agents.linear import Linear, orthogonal_layers
from lerax_fx.agents.normalization import Normalization, normalization
from lerax_fx.types import Key

HIDDEN_GAIN: Final = math.sqrt(2)
"""The usual gain of hidden layers in PPO's networks: Huang et al. 2022, "The 37
Implementation Details of Proximal Policy Optimization", detail 2."""


@final
class MLP(eqx.Module):
    """Affine layers with an activation between them, orthogonally initialised.

    **Arguments:**

    - `sizes`: of the input, of each hidden layer, and of the output.
    - `activation`: its name or a function.
    - `hidden_gain`, `last_gain`: of the initial weights.
    - `activate_last`: whether the output is activated as well.
    - `layer_norm`: whether whatever is activated is normalised before (Ba et al. 2016).

    **Raises:** `HyperparameterError` for an unknown activation or a size below 1.
    """

    layers: tuple[Linear, ...]
    norms: tuple[Normalization, ...]
    activation: Activation = eqx.field(static=True)
    activate_last: bool = eqx.field(static=True)

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        key: Key,
        activation: Activation = "tanh",
        hidden_gain: float = HIDDEN_GAIN,
        last_gain: float = 1.0,
        activate_last: bool = False,
        layer_norm: bool = False,
    ):
        activation_function("MLP", activation)
        sizes = [check_count(f"MLP: sizes[{i}]", size) for i, size in enumerate(sizes)]
        count = check_count("MLP: layers", len(sizes) - 1)
        gains = [hidden_gain] * (count - 1) + [last_gain]
        self.layers = tuple(map(Linear, orthogonal_layers(key, sizes, gains)))
        activated = sizes[1:] if activate_last else sizes[1:-1]
        self.norms = tuple(normalization(size, layer_norm=layer_norm) for size in activated)
        self.activation = activation
        self.activate_last = activate_last

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        """One vector in, one vector out."""
        activate = activation_function("MLP", self.activation)
        for layer, norm in zip(self.layers, self.norms, strict=False):
            x = activate(norm(layer(x)))
        return x if self.activate_last else self.layers[-1](x)
