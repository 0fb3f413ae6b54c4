"""Normalisation between the layers of a network."""

from typing import TypeAlias

import equinox as eqx

Normalization: TypeAlias = eqx.nn.LayerNorm | eqx.nn.Identity
"""What a vector goes through before it is activated."""


def normalization(size: int, *, layer_norm: bool) -> Normalization:
    """Layer normalisation of vectors of that size: mean 0 and variance 1, then a learnt
    scale and shift. Or nothing, without arrays.

    Ba et al. 2016, "Layer Normalization", eq. 4.
    """
    return eqx.nn.LayerNorm(size) if layer_norm else eqx.nn.Identity()
