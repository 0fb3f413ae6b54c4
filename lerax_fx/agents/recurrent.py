"""The gated recurrent unit."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.linear import Linear, orthogonal
from lerax_fx.types import Flag, Key


@final
class GRU(eqx.Module):
    """A gated recurrent unit, orthogonally initialised.

    Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for
    Statistical Machine Translation", eqs. 5 to 8, with the reset gate after the product
    (its variant "v3" in Chung et al. 2014, and what cuDNN computes):

        r = sigmoid(W_r x + b_r + U_r h)
        z = sigmoid(W_z x + b_z + U_z h)
        n = tanh(W_n x + b_n + r * (U_n h + c))
        h' = n + z * (h - n)
    """

    inward: Linear
    weight: Float[Array, "size gates"]
    bias: Float[Array, " size"]

    def __init__(self, inputs: int, size: int, *, key: Key):
        inward_key, *keys = jax.random.split(key, 4)
        self.inward = Linear(orthogonal(inward_key, inputs, 3 * size, 1.0))
        squares = [orthogonal(key, size, size, 1.0) for key in keys]
        self.weight = jnp.concatenate(squares, axis=1)
        self.bias = jnp.zeros(size)

    @property
    def size(self) -> int:
        """The length of the memory."""
        return self.bias.shape[-1]

    def drive(self, x: Float[Array, " inputs"]) -> Float[Array, " gates"]:
        """What the input adds to the gates: `(3 * size,)`. It does not depend on the memory,
        so for a trajectory it is one product, outside of the scan.
        """
        return self.inward(x)

    def advance(
        self, memory: Float[Array, " size"], drive: Float[Array, " gates"]
    ) -> Float[Array, " size"]:
        """The memory after one step."""
        recall = memory @ self.weight
        gates = 2 * self.size
        reset, keep = jnp.split(jax.nn.sigmoid(drive[:gates] + recall[:gates]), 2)
        new = jnp.tanh(drive[gates:] + reset * (recall[gates:] + self.bias))
        return new + keep * (memory - new)

    def initial_memory(self) -> Float[Array, " size"]:
        """Zeros."""
        return jnp.zeros_like(self.bias)

    def unroll(
        self,
        memory: Float[Array, " size"],
        drives: Float[Array, "time gates"],
        resets: Bool[Array, " time"],
    ) -> tuple[Float[Array, " size"], Float[Array, "time size"]]:
        """The last memory, and that after each step of one trajectory; `resets` tells where it
        starts anew before a step. Only the recurrence itself is in the scan.
        """
        initial = self.initial_memory()

        def advance(memory: Array, inputs: tuple[Array, Flag]) -> tuple[Array, Array]:
            drive, reset = inputs
            memory = self.advance(jnp.where(reset, initial, memory), drive)
            return memory, memory

        return jax.lax.scan(advance, memory, (drives, resets))
