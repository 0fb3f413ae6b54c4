"""Counters that stop at the top."""

import jax.numpy as jnp

from lerax_fx.types import Count


def saturating_sum(count: Count, more: int) -> Count:
    """`count + more`, or the largest number of the count's type where that would overflow.

    A counter that wrapped would start every schedule anew, from before its beginning.
    """
    largest = jnp.iinfo(count.dtype).max
    return jnp.minimum(count, largest - more) + more
