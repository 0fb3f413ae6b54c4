"""Policies over bits."""

from typing import final

import distrax
import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from lerax_fx.agents.policies.policy import AbstractPolicy


@final
class BernoulliPolicy(AbstractPolicy):
    """`n` independent bits, by their logits. For `MultiBinary(n)`; actions are int8, `(n,)`."""

    n: int = eqx.field(static=True)

    @property
    def parameters(self) -> int:
        return self.n

    def __call__(self, outputs: Float[Array, "{self.parameters}"]) -> distrax.Distribution:
        return distrax.Independent(distrax.Bernoulli(logits=outputs, dtype=np.int8), 1)
