"""Type aliases shared by the whole library."""

from typing import Any, TypeAlias

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, ScalarLike

Key: TypeAlias = PRNGKeyArray
"""One random key, typed (`jax.random.key`) or raw (`jax.random.PRNGKey`)."""

Scalar: TypeAlias = Float[Array, ""]
"""A floating-point array of shape `()`."""

Flag: TypeAlias = Bool[Array, ""]
"""A boolean array of shape `()`."""

Count: TypeAlias = Int[Array, ""]
"""An integer array of shape `()`."""

Metrics: TypeAlias = dict[str, Array]
"""A flat dict of arrays, keyed `stage/name`, or by a plain name for what every run has."""

Tree: TypeAlias = Any
"""A PyTree of arrays whose structure is the caller's own: an agent, a memory, a state."""

__all__ = ["Count", "Flag", "Key", "Metrics", "Scalar", "ScalarLike", "Tree"]
