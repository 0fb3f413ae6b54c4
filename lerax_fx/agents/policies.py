"""Policies: from the output of a network to a distribution over actions."""

import abc
import math
from typing import Any, Final, TypeAlias, final

import distrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_flag, check_number, check_one_number
from lerax_fx.errors import WiringError, format_error
from lerax_fx.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from lerax_fx.typing import Interval, Key, Scalar


class AbstractPolicy(eqx.Module):
    """A policy head: from the output of a network to a distribution over one kind of action.

    A subclass has arrays only for what is learnt beside the network (a log-std).
    """

    @property
    @abc.abstractmethod
    def parameters(self) -> int:
        """The number of outputs of the network that it takes."""

    @abc.abstractmethod
    def __call__(self, outputs: Float[Array, " parameters"]) -> distrax.Distribution:
        """The distribution over one action. It is a PyTree that keeps its meaning under
        `vmap` and `scan`, and has `sample`, `log_prob`, `entropy` and `mode`.
        """


# Not recursive: typeguard looks names up where the alias is used, and finds none.
Bounds: TypeAlias = float | tuple[Any, ...]
"""A float, or nested tuples of them: an array that can be compared, hence structure."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(20)

# Where tanh is taken for saturated. A float32 below 1 comes no closer to it than 6e-8, and
# rescaling to the bounds costs a few times that.
_EDGE: Final = 1 - 1e-6


class SquashedNormal(distrax.Distribution):
    """A Gaussian squashed by tanh and rescaled: `low + (high - low) * (tanh(x) + 1) / 2` for a
    Gaussian `x`, in each entry.

    Haarnoja et al. 2018, "Soft Actor-Critic", appendix C, eq. 21, in one dimension.

    **Arguments:**

    - `loc`, `scale`: of the Gaussian: arrays of one shape.
    - `low`, `high`: finite bounds, which broadcast to that shape. As nested tuples of
      floats they are structure of this PyTree, not leaves, and stay out of batches.
    """

    def __init__(
        self, loc: Float[Array, "*shape"], scale: Float[Array, "*shape"], low: Bounds, high: Bounds
    ):
        super().__init__()
        self._normal = distrax.Normal(loc, scale)
        self._low = low
        self._high = high

    @property
    def event_shape(self) -> tuple[int, ...]:
        """An event is one number."""
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The shape of `loc` and `scale`."""
        return self._normal.batch_shape

    def log_prob(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """The log-density of an action; finite, with finite gradients, on the bounds too:
        an action closer to one than half a millionth of the width counts as that far away.
        """
        center, half = self._center_and_half()
        y = jnp.clip((value - center) / half, -_EDGE, _EDGE)
        return self._normal.log_prob(jnp.arctanh(y)) - jnp.log1p(-y * y) - jnp.log(half)

    def entropy(self) -> Float[Array, "..."]:
        """The entropy in nats: the Gaussian's, plus the mean log-slope of the squashing.

        The mean is taken by Gauss-Hermite quadrature in 20 nodes. Its error in nats, at
        worst over `loc`: 2e-9 for a scale of 0.6, 3e-6 for 1, 4e-4 for 1.6, 8e-3 for 2.7.
        """
        nodes = jnp.asarray(_NODES, self._normal.loc.dtype)
        weights = jnp.asarray(_WEIGHTS / _WEIGHTS.sum(), self._normal.loc.dtype)
        x = self._normal.loc[..., None] + self._normal.scale[..., None] * nodes
        mean_log_slope = jnp.sum(weights * _log_slope(x), axis=-1)
        return self._normal.entropy() + mean_log_slope + jnp.log(self._center_and_half()[1])

    def mode(self) -> Float[Array, "..."]:
        """Where the Gaussian's mode goes, which is the median. It is the action to take
        without noise; a wide distribution's density is highest at the bounds.
        """
        return self._squash(self._normal.mode())

    def median(self) -> Float[Array, "..."]:
        """Where the Gaussian's median goes: squashing keeps the order."""
        return self._squash(self._normal.median())

    def kl_divergence(self, other_dist: Any, **kwargs: Any) -> Float[Array, "..."]:
        """The divergence from another with the same bounds: that of the Gaussians, for it
        does not change under a map that can be inverted.
        """
        if not isinstance(other_dist, SquashedNormal) or (self._low, self._high) != (
            other_dist._low,
            other_dist._high,
        ):
            raise NotImplementedError("kl_divergence: only between equal bounds.")
        return self._normal.kl_divergence(other_dist._normal, **kwargs)

    def _sample_n(self, key: Key, n: int) -> Float[Array, "..."]:
        return self._squash(self._normal.sample(seed=key, sample_shape=n))

    def _sample_n_and_log_prob(
        self, key: Key, n: int
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        # Not through `log_prob`: the Gaussian's draw is at hand, so nothing is inverted.
        x, log_prob = self._normal.sample_and_log_prob(seed=key, sample_shape=n)
        half = self._center_and_half()[1]
        return self._squash(x), log_prob - _log_slope(x) - jnp.log(half)

    def _squash(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        center, half = self._center_and_half()
        # Rounding may carry a saturated action over the bound.
        return jnp.clip(
            center + half * jnp.tanh(x), self._array(self._low), self._array(self._high)
        )

    def _center_and_half(self) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        low, high = self._array(self._low), self._array(self._high)
        return (low + high) / 2, (high - low) / 2

    def _array(self, bounds: Bounds) -> Float[Array, "..."]:
        return jnp.asarray(bounds, self._normal.loc.dtype)


def _log_slope(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`log(1 - tanh(x)**2)`, which does not overflow or cancel for a large `x`."""
    size = jnp.abs(x)
    return 2 * (math.log(2) - size - jnp.log1p(jnp.exp(-2 * size)))


@final
class ActionBounds(eqx.Module):
    """The bounds of a `Box` of actions. They are structure, which no optimiser changes.

    - `shape`: of an action.
    - `low`, `high`: nested tuples of floats of that shape.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    low: Bounds = eqx.field(static=True)
    high: Bounds = eqx.field(static=True)

    @property
    def size(self) -> int:
        """The number of dimensions of an action."""
        return math.prod(self.shape)

    @property
    def lowest(self) -> Float[np.ndarray, "..."]:
        """The lower bounds as an array."""
        return np.asarray(self.low, np.float32)

    @property
    def highest(self) -> Float[np.ndarray, "..."]:
        """The upper bounds as an array."""
        return np.asarray(self.high, np.float32)

    @property
    def center(self) -> Float[np.ndarray, "..."]:
        """The midpoint of the bounds."""
        return np.asarray((self.highest + self.lowest) / 2)

    @property
    def half_width(self) -> Float[np.ndarray, "..."]:
        """Half the distance between them."""
        return np.asarray((self.highest - self.lowest) / 2)

    @property
    def log_volume(self) -> Scalar:
        """The log of the volume between the bounds, in units of that of `[-1, 1]` in each
        dimension: what entropies gain by the scale of the actions.
        """
        return jnp.asarray(np.log(self.half_width).sum())

    def scaled(self, unit: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """From `[-1, 1]` to the bounds."""
        return self.clipped(jnp.asarray(self.center + self.half_width * unit))

    def unscaled(self, action: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """From the bounds to `[-1, 1]`."""
        return (action - self.center) / self.half_width

    def clipped(self, action: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The nearest action within the bounds."""
        return jnp.clip(action, self.lowest, self.highest)


def action_bounds(where: str, space: Space, *, otherwise: str = "") -> ActionBounds:
    """The bounds of an action space; `otherwise` is what the caller takes besides a `Box`, for the
    message.

    **Raises:** `WiringError` unless it is a `Box` of floats with known, finite bounds.
    """
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        known = not (isinstance(space.low, Tracer) or isinstance(space.high, Tracer))
        if known and space.bounded and bool(np.all(np.asarray(space.low < space.high))):
            low, high = np.asarray(space.low, float), np.asarray(space.high, float)
            return ActionBounds(space.shape, _as_tuples(low.tolist()), _as_tuples(high.tolist()))
    raise WiringError(
        format_error(
            f"{where}: actions",
            wanted=f"{otherwise}a Box of floats with finite bounds that are known, the lower "
            "below the upper",
            got=f"{space!r}",
            fix="Use an environment with continuous actions, or an algorithm for discrete "
            "ones, such as recipes.dqn.",
        )
    )


def _as_tuples(value: Any) -> Bounds:
    if isinstance(value, list):
        return tuple(_as_tuples(each) for each in value)  # pyright: ignore[reportUnknownVariableType] -- nested lists
    return float(value)


@final
class BernoulliPolicy(AbstractPolicy):
    """Independent Bernoullis, by their logits. For `MultiBinary(n)`; actions are int8, `(n,)`."""

    n: int = eqx.field(static=True)

    @property
    def parameters(self) -> int:
        return self.n

    def __call__(self, outputs: Float[Array, "{self.parameters}"]) -> distrax.Distribution:
        return distrax.Independent(distrax.Bernoulli(logits=outputs, dtype=np.int8), 1)


@final
class CategoricalPolicy(AbstractPolicy):
    """A categorical, by its logits. For `Discrete(n)`; actions are int32, `()`."""

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


# Haarnoja et al. 2018, as in the code of its authors.
_LOG_STD_MIN: Final = -20.0
_LOG_STD_MAX: Final = 2.0


@final
class GaussianPolicy(AbstractPolicy):
    """A diagonal Gaussian: the network gives the means; the log standard deviations are learnt
    parameters, the same in every state. For a `Box`.

    Actions may leave the Box: wrap the environment in `fx.envs.ClipAction`, or use
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
    """As [`GaussianPolicy`][lerax_fx.agents.GaussianPolicy], squashed by tanh and rescaled to the
    bounds. For a bounded `Box`.

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
    """As [`SquashedGaussianPolicy`][lerax_fx.agents.SquashedGaussianPolicy], with log standard
    deviations from the network as well, after the means; clipped to [-20, 2].

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


class DeterministicAction(distrax.Distribution):
    """A deterministic distribution: one action with probability 1.

    **Arguments:**

    - `action`: of the shape that `bounds` has.
    - `bounds`: what exploration keeps within. They are structure of this PyTree.
    """

    def __init__(self, action: Float[Array, "*shape"], bounds: ActionBounds):
        super().__init__()
        self._action = action
        self.bounds = bounds

    @property
    def event_shape(self) -> tuple[int, ...]:
        """An event is a whole action."""
        return self.bounds.shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Always one action: a batch of these is made with `jax.vmap`."""
        return ()

    def log_prob(self, value: Float[Array, "*shape"]) -> Scalar:
        """The log-probability: 0 for the action, minus infinity for any other."""
        return jnp.where(jnp.all(value == self._action), 0.0, -jnp.inf)

    def entropy(self) -> Scalar:
        """The entropy of a point mass: 0."""
        return jnp.zeros(())

    def mode(self) -> Float[Array, "*shape"]:
        """The action."""
        return self._action

    def _sample_n(self, key: Key, n: int) -> Float[Array, "n *shape"]:
        del key
        return jnp.broadcast_to(self._action, (n, *self._action.shape))

    def _sample_n_and_log_prob(self, key: Key, n: int) -> tuple[Any, Float[Array, " n"]]:
        return self._sample_n(key, n), jnp.zeros(n)


@final
class DeterministicPolicy(AbstractPolicy):
    """A deterministic policy: the network's output, squashed by tanh and rescaled to the bounds.
    For a bounded `Box`.

    Lillicrap et al. 2016, "Continuous control with deep reinforcement learning", section 7.
    """

    bounds: ActionBounds

    @property
    def parameters(self) -> int:
        return self.bounds.size

    def __call__(self, outputs: Float[Array, "{self.parameters}"]) -> distrax.Distribution:
        action = self.bounds.scaled(jnp.tanh(outputs).reshape(self.bounds.shape))
        return DeterministicAction(action, self.bounds)


def policy_for(
    space: Space, *, squash: bool = False, log_std: float = 0.0, where: str = "policy_for"
) -> AbstractPolicy:
    """The policy head for an action space.

    **Arguments:**

    - `squash`: for a `Box`, whether actions are squashed to its bounds.
    - `log_std`: for a `Box`, what the log of the standard deviation starts at.
    - `where`: what errors call the place.

    **Raises:** `WiringError` for a space without a policy, and if `squash` is asked of one
    that is not a `Box` of floats with known, finite bounds.
    """
    squash = check_flag(f"{where}: squash", squash)
    log_std = check_number(f"{where}: log_std", log_std, Interval())
    check_one_number(f"{where}: log_std", log_std)
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        if not squash:
            return GaussianPolicy(space.shape, log_std)
        low, high = _known_bounds(where, space)
        return SquashedGaussianPolicy(space.shape, low, high, log_std)
    if squash:
        raise _no_squash(where, space, "a Box of floats to squash actions into")
    if isinstance(space, Discrete):
        return CategoricalPolicy(space.n)
    if isinstance(space, MultiDiscrete):
        return MultiCategoricalPolicy(space.nvec)
    if isinstance(space, MultiBinary):
        return BernoulliPolicy(space.n)
    raise WiringError(
        format_error(
            f"{where}: actions",
            wanted="a Discrete, MultiDiscrete or MultiBinary space, or a Box of floats",
            got=f"{space!r}",
            fix="Write an environment whose actions are one of these, or an agent whose "
            "policy gives the distribution that you need.",
        )
    )


def _known_bounds(where: str, space: Box) -> tuple[Bounds, Bounds]:
    if isinstance(space.low, Tracer) or isinstance(space.high, Tracer):
        raise _no_squash(
            where,
            space,
            "bounds that are known while tracing",
            fix="Make the agent outside of jit and vmap, or close over the environment.",
        )
    low, high = np.asarray(space.low, float), np.asarray(space.high, float)
    if not (space.bounded and np.all(low < high)):
        raise _no_squash(where, space, "finite bounds, the lower below the upper")
    return _as_tuples(low.tolist()), _as_tuples(high.tolist())


def _no_squash(
    where: str, space: Space, wanted: str, fix: str = "Leave out squash=True."
) -> WiringError:
    return WiringError(format_error(f"{where}: squash", wanted=wanted, got=f"{space!r}", fix=fix))
