"""Policies over whole numbers."""

from typing import final

import distrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lerax_fx.agents.policies.policy import AbstractPolicy


@final
class CategoricalPolicy(AbstractPolicy):
    """One of `n` actions, by its logits. For `Discrete(n)`; actions are int32, `()`."""

    n: int = eqx.field(static=True)

    @property
    def parameters(self) -> int:
        return self.n

    def __call__(self, outputs: Float[Array, "{self.parameters}"]) -> distrax.Distribution:
        return distrax.Categorical(logits=outputs, dtype=np.int32)


@final
class MultiCategoricalPolicy(AbstractPolicy):
    """Several independent categoricals. For `MultiDiscrete(nvec)`; actions are int32,
    `(len(nvec),)`. Log-probabilities and entropies are sums over them.
    """

    nvec: tuple[int, ...] = eqx.field(static=True)

    @property
    def parameters(self) -> int:
        return len(self.nvec) * max(self.nvec)

    def __call__(self, outputs: Float[Array, "{self.parameters}"]) -> distrax.Distribution:
        # One row for each, padded to the longest: what is padding has no probability.
        logits = outputs.reshape(len(self.nvec), max(self.nvec))
        exists = np.arange(max(self.nvec)) < np.asarray(self.nvec)[:, None]
        if not exists.all():
            logits = jnp.where(exists, logits, -jnp.inf)
        return distrax.Independent(distrax.Categorical(logits=logits, dtype=np.int32), 1)
