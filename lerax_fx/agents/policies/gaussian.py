"""Policies over real numbers."""

import math
from typing import Final, final

import distrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.policies.action_bounds import ActionBounds
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.agents.policies.squashed_normal import Bounds, SquashedNormal

# Haarnoja et al. 2018, as in the code of its authors.
_LOG_STD_MIN: Final = -20.0
_LOG_STD_MAX: Final = 2.0


@final
class GaussianPolicy(AbstractPolicy):
    """Independent Gaussians: the network gives their means, and the log of their standard
    deviations is learnt beside it, the same in every state. For a `Box`.

    Actions may leave the Box: wrap the environment in `fx.ClipAction`, or use
    [`SquashedGaussianPolicy`][lerax_fx.agents.SquashedGaussianPolicy].

    **Arguments:**

    - `shape`: of an action.
    - `log_std`: its initial value.
    """

    log_std: Float[Array, "..."]

    def __init__(self, shape: tuple[int, ...], log_std: float = 0.0):
        self.log_std = jnp.full(shape, log_std)

    @property
    def parameters(self) -> int:
        return self.log_std.size

    def __call__(self, outputs: Float[Array, "{self.parameters}"]) -> distrax.Distribution:
        loc = outputs.reshape(self.log_std.shape)
        normal = distrax.Normal(loc, jnp.exp(self.log_std))
        return distrax.Independent(normal, loc.ndim)


@final
class SquashedGaussianPolicy(AbstractPolicy):
    """As [`GaussianPolicy`][lerax_fx.agents.GaussianPolicy], squashed by tanh and rescaled
    to the bounds, which no action then leaves. For a bounded `Box`.

    Haarnoja et al. 2018, "Soft Actor-Critic", appendix C.

    **Arguments:**

    - `low`, `high`: the bounds, as nested tuples of the action's shape. They are structure:
      an optimiser that decays weights must not move them.
    - `log_std`: its initial value.
    """

    log_std: Float[Array, "..."]
    low: Bounds = eqx.field(static=True)
    high: Bounds = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], low: Bounds, high: Bounds, log_std: float = 0.0):
        self.shape = shape
        self.low, self.high = low, high
        self.log_std = jnp.full(shape, log_std)

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)

    def __call__(self, outputs: Float[Array, "{self.parameters}"]) -> distrax.Distribution:
        loc = outputs.reshape(self.shape)
        normal = SquashedNormal(loc, jnp.exp(self.log_std), self.low, self.high)
        return distrax.Independent(normal, loc.ndim)


@final
class StateDependentGaussianPolicy(AbstractPolicy):
    """As [`SquashedGaussianPolicy`][lerax_fx.agents.SquashedGaussianPolicy], but the network
    gives the log of the standard deviations as well, after the means: they depend on the
    state. It is clipped to [-20, 2].

    Haarnoja et al. 2018, "Soft Actor-Critic", section 5.1 and appendix C.
    """

    bounds: ActionBounds

    @property
    def parameters(self) -> int:
        return 2 * self.bounds.size

    def __call__(self, outputs: Float[Array, "{self.parameters}"]) -> distrax.Distribution:
        loc, log_std = outputs.reshape(2, *self.bounds.shape)
        scale = jnp.exp(jnp.clip(log_std, _LOG_STD_MIN, _LOG_STD_MAX))
        normal = SquashedNormal(loc, scale, self.bounds.low, self.bounds.high)
        return distrax.Independent(normal, loc.ndim)
