"""Observations that come with the time that passed before them."""

from typing import final

import equinox as eqx
from jaxtyping import Array, Float

from lerax_fx.types import Tree


@final
class Timed(eqx.Module):
    """An observation, and how long ago the one before it was: `dt`, in the environment's
    units of time; 0 at an episode's start.
    """

    value: Tree
    dt: Float[Array, "*batch"]
