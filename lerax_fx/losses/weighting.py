"""Steps that count for more or less than others, and how much is left to learn from them."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.types import Metrics, Scalar

# Kapturowski et al. 2019, "Recurrent Experience Replay in Distributed Reinforcement Learning",
# section 2.3: the mean alone would hide the one large error of a long window.
_OF_LARGEST = 0.9


def weighted_mean(
    losses: Float[Array, "*batch time"], weight: Float[Array, "*batch"] | None
) -> Scalar:
    """The mean of the losses, each times the weight of its window; `None` for 1."""
    return jnp.mean(losses if weight is None else weight[..., None] * losses)


def priorities(
    errors: Float[Array, "*batch time"], weight: Float[Array, "*batch"] | None
) -> Metrics:
    """The metric `priority` of each window, for data with weights; else nothing.

    0.9 times the largest error and 0.1 times the mean; of one step, its error.
    """
    if weight is None:
        return {}
    mixed = _OF_LARGEST * errors.max(axis=-1) + (1 - _OF_LARGEST) * errors.mean(axis=-1)
    return {"priority": mixed}
