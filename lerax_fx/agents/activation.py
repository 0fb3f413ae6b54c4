"""Activation functions by name."""

import difflib
from collections.abc import Callable
from types import MappingProxyType
from typing import Final, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lerax_fx.errors import HyperparameterError, explain

Activation: TypeAlias = str | Callable[[Array], Array]
"""A name among `ACTIVATIONS`, or an elementwise function without arrays of its own."""


def _identity(x: Array) -> Array:
    return x


ACTIVATIONS: Final = MappingProxyType(
    {
        "elu": jax.nn.elu,
        "gelu": jax.nn.gelu,
        "identity": _identity,
        "leaky_relu": jax.nn.leaky_relu,
        "relu": jax.nn.relu,
        "sigmoid": jax.nn.sigmoid,
        "silu": jax.nn.silu,
        "softplus": jax.nn.softplus,
        "tanh": jnp.tanh,
    }
)
"""The activation functions that have names."""


def activation_function(where: str, activation: Activation) -> Callable[[Array], Array]:
    """The function that is meant.

    **Raises:** `HyperparameterError` for an unknown name.
    """
    if callable(activation):
        return activation
    if activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    near = difflib.get_close_matches(activation.lower(), ACTIVATIONS, n=1)
    raise HyperparameterError(
        explain(
            f"{where}: activation",
            wanted=f"a function, or one of {', '.join(ACTIVATIONS)}",
            got=repr(activation),
            fix=f"Did you mean {near[0]!r}?" if near else "Pick one of those.",
        )
    )
