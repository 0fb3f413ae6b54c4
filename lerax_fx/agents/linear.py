"""The affine layer, and how its weights start."""

import functools
import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.types import Key, Scalar


def orthogonal(key: Key, rows: int, columns: int, gain: float) -> Float[Array, "rows columns"]:
    """A random matrix whose rows or columns (the fewer) are orthogonal, of length `gain`.

    Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", section 3.
    """
    return orthogonal_layers(key, (rows, columns), (gain,))[0]


def orthogonal_layers(key: Key, sizes: Sequence[int], gains: Sequence[float]) -> list[Array]:
    """Orthogonal weights for layers from each of the sizes to the next, one `gain` for each."""
    return _orthogonal_layers(key, tuple(sizes), tuple(gains))


# Compiled as one: op by op, the first agent of a process takes three times as long.
@functools.partial(jax.jit, static_argnames="sizes")
def _orthogonal_layers(key: Key, sizes: tuple[int, ...], gains: tuple[Any, ...]) -> list[Array]:
    shapes = list(pairwise(sizes))
    # One draw, of a vector, for all layers: PPO's six layers are compiled in half the time
    # that jax.nn.initializers.orthogonal takes for them (0.34 against 0.73 s).
    numbers = jax.random.normal(key, (sum(map(math.prod, shapes)),))
    ends = list(accumulate(map(math.prod, shapes)))[:-1]
    return [
        gain * _orthogonalized(part.reshape(shape))
        for part, shape, gain in zip(jnp.split(numbers, ends), shapes, gains, strict=True)
    ]


def _orthogonalized(matrix: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """Uniform over the orthogonal matrices, if the numbers of `matrix` are normal: Mezzadri
    2007, "How to generate random matrices from the classical compact groups", section 5.
    """
    rows, columns = matrix.shape
    tall, upper = jnp.linalg.qr(matrix if rows >= columns else matrix.T)
    tall = tall * jnp.sign(jnp.diagonal(upper))
    return tall if rows >= columns else tall.T


def only_number(outputs: Float[Array, "1"]) -> Scalar:
    """What a network with one output gives."""
    return outputs[0]


@final
class Linear(eqx.Module):
    """`x @ weight + bias`; no bias to begin with."""

    # [inputs, outputs], which under vmap is `X @ W`. Against eqx.nn.Linear's `W @ x` (64-64
    # tanh net, CPU, medians of 60 interleaved, us, in brackets plain batched `X @ W` as
    # flax writes it): batch 4 forward 4.1 to 4.7 (4.5), gradient 10.7 to 10.9 (11.4);
    # 128: 15.7 to 15.6 (15.0), 38.0 to 39.8 (38.0); 2048: 168 to 171 (170), 500 to 508
    # (497). As good as equal; but with batches up to 64 the result of this one does not
    # depend on how the batch is laid out, to the last bit, and that of `W @ x` does.
    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, weight: Float[Array, "inputs outputs"]):
        self.weight = weight
        self.bias = jnp.zeros(weight.shape[-1])

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        return x @ self.weight + self.bias
