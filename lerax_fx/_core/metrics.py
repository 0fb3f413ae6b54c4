"""Metrics that were not measured: of a skipped update, of an episode that did not end.

They are NaN with a bit pattern of their own: means over minibatches leave them out, while a loss
that was computed as NaN stays in the mean. As R's `NA_real_`, they are marked by the lowest bit;
arithmetic makes no such NaN.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lerax_fx.typing import Metrics


def absent(shape: tuple[int, ...], dtype: Any) -> Array:
    """A metric that was not measured: a NaN with a bit pattern of its own, or 0 for integers."""
    if not jnp.issubdtype(dtype, jnp.floating):
        return jnp.zeros(shape, dtype)
    return jax.lax.bitcast_convert_type(jnp.full(shape, _bits(dtype)), dtype)


def is_absent(value: Array) -> Array:
    """Which elements were not measured."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return jnp.zeros(value.shape, bool)
    bits = _bits(value.dtype)
    return jax.lax.bitcast_convert_type(value, bits.dtype) == bits


def _bits(dtype: Any) -> Any:
    nan = jnp.full((), jnp.nan, dtype)
    return jax.lax.bitcast_convert_type(nan, f"uint{8 * nan.dtype.itemsize}") | 1


def mean_over_time(metrics: Metrics) -> Metrics:
    """The mean of each metric over its leading axis, without what was not measured (updates that
    were skipped, episodes that did not end). A NaN that was measured stays NaN.

    Integers are counters: of these the last value counts.
    """

    def reduce(value: Any) -> Any:
        if not jnp.issubdtype(value.dtype, jnp.inexact):
            return value[-1]
        missing = is_absent(value)
        count = jnp.sum(~missing, axis=0)
        total = jnp.sum(jnp.where(missing, 0, value), axis=0)
        mean = total / jnp.maximum(count, 1)
        return jnp.where(count > 0, mean, absent(mean.shape, mean.dtype)).astype(value.dtype)

    return {name: reduce(value) for name, value in metrics.items()}
