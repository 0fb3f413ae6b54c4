"""The affine layer, and how its weights start."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.types import Key


def orthogonal(key: Key, rows: int, columns: int, gain: float) -> Float[Array, "rows columns"]:
    """A random matrix whose rows or columns (the fewer) are orthogonal, of length `gain`.

    Saxe et al. 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", section 3.
    """
    return jax.nn.initializers.orthogonal(gain)(key, (rows, columns), jnp.result_type(float))


@final
class Linear(eqx.Module):
    """`x @ weight + bias`; orthogonal weights and no bias to begin with.

    **Arguments:**

    - `inputs`, `outputs`: the sizes.
    - `gain`: the length of the weights' rows or columns.
    """

    # [inputs, outputs], which under vmap is `X @ W`. Against eqx.nn.Linear's `W @ x` (64-64
    # tanh net, CPU, medians of 60 interleaved, us, in brackets plain batched `X @ W` as
    # flax writes it): batch 4 forward 4.1 to 4.7 (4.5), gradient 10.7 to 10.9 (11.4);
    # 128: 15.7 to 15.6 (15.0), 38.0 to 39.8 (38.0); 2048: 168 to 171 (170), 500 to 508
    # (497). As good as equal; but with batches up to 64 the result of this one does not
    # depend on how the batch is laid out, to the last bit, and that of `W @ x` does.
    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, *, gain: float, key: Key):
        self.weight = orthogonal(key, inputs, outputs, gain)
        self.bias = jnp.zeros(outputs)

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        return x @ self.weight + self.bias
