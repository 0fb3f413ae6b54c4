"""Noisy networks: layers whose weights are drawn."""

import math
from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_constant, check_count
from lerax_fx.agents.networks import Convolution, Linear
from lerax_fx.typing import Interval, Key

N = TypeVar("N")


@final
class NoisyLinear(eqx.Module):
    """A linear layer with factorised Gaussian noise on its weights and biases: Fortunato et al.
    2018, "Noisy Networks for Exploration", eqs. 9 to 11.

        weight = mean + scale * f(e) f(d)^T,   bias = mean + scale * f(d),   f(x) = sign(x) sqrt|x|

    with a standard normal number `e` for each input and `d` for each output. Means and scales are
    trained; means start uniform within `1 / sqrt(inputs)`, scales at `scale / sqrt(inputs)`
    (section 3.2).

    `draw(key)` gives a [`Linear`][lerax_fx.agents.Linear] layer; without a draw it computes with
    the means.

    **Arguments:**

    - `inputs`, `outputs`: how many.
    - `scale`: at least 0; the paper's by default.
    """

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]
    weight_scale: Float[Array, "inputs outputs"]
    bias_scale: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, *, key: Key, scale: float = 0.5):
        inputs = check_count("NoisyLinear: inputs", inputs)
        outputs = check_count("NoisyLinear: outputs", outputs)
        scale = check_constant("NoisyLinear: scale", scale, Interval(0.0)) / math.sqrt(inputs)
        bound = 1 / math.sqrt(inputs)
        weight_key, bias_key = jax.random.split(key)
        self.weight = jax.random.uniform(weight_key, (inputs, outputs), float, -bound, bound)
        self.bias = jax.random.uniform(bias_key, (outputs,), float, -bound, bound)
        self.weight_scale = jnp.full((inputs, outputs), scale)
        self.bias_scale = jnp.full((outputs,), scale)

    def draw(self, key: Key) -> Linear:
        """The layer with one draw of its noise."""
        inputs, outputs = self.weight.shape
        numbers = jax.random.normal(key, (inputs + outputs,), self.weight.dtype)
        noise = jnp.sign(numbers) * jnp.sqrt(jnp.abs(numbers))
        ahead, behind = noise[:inputs], noise[inputs:]
        weight = self.weight + self.weight_scale * jnp.outer(ahead, behind)
        return _linear(weight, self.bias + self.bias_scale * behind)

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        return x @ self.weight + self.bias


def _linear(weight: Float[Array, "inputs outputs"], bias: Float[Array, " outputs"]) -> Linear:
    return eqx.tree_at(lambda linear: linear.bias, Linear(weight), bias)


def draw_noise(network: N, key: Key) -> N:
    """A network, or any PyTree, with one independent draw for each of its noisy layers, which
    become [`Linear`][lerax_fx.agents.Linear] layers; itself if it has none.
    """
    count = 0

    def draw(node: Any) -> Any:
        nonlocal count
        if not _is_noisy(node):
            return node
        count += 1
        return node.draw(jax.random.fold_in(key, count))

    return jax.tree.map(draw, network, is_leaf=_is_noisy)


def _is_noisy(node: Any) -> bool:
    return isinstance(node, NoisyLinear)


def make_noisy(network: N, *, key: Key, scale: float = 0.5) -> N:
    """The same network with a noisy layer, newly initialised, for each linear layer of its MLPs;
    convolutions stay as they are.

    **Arguments:** `scale`: as for [`NoisyLinear`][lerax_fx.agents.NoisyLinear].
    """
    count = 0

    def replace(node: Any) -> Any:
        nonlocal count
        if not isinstance(node, Linear):
            return node
        count += 1
        return NoisyLinear(*node.weight.shape, key=jax.random.fold_in(key, count), scale=scale)

    def is_layer(node: Any) -> bool:
        return isinstance(node, Linear | Convolution)

    return jax.tree.map(replace, network, is_leaf=is_layer)
