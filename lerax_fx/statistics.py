"""Running mean and variance, and arrays of an agent that are not trained."""

from collections.abc import Callable
from typing import Final, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

from lerax_fx.typing import ScalarLike

_LARGEST: Final = 1e15


class NonTrainable(eqx.Module):
    """A part of an agent whose arrays are not trained: statistics of a normalisation, a moving
    average. [`minimize`][lerax_fx.minimize] leaves them alone, and their gradient is not taken;
    [`update_statistics`][lerax_fx.update_statistics], or a stage of one's own, updates them. They
    are saved and vmapped with the agent. A target network always has those of the agent itself.
    """


@final
class RunningStatistics(NonTrainable):
    """Running mean and variance, entry by entry, and the number of samples.

    Merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances" (1979), but with the variance in place of the sum of
    squares, which would outgrow a float32. The count is a float for the same end: at its
    last exact value it stays, and the statistics go on as a moving average; an int would
    overflow.

    What is not finite is left out, entry by entry, and so is what is beyond 1e15 in
    magnitude, whose square would outgrow a float32 when summed: one such number would make
    the mean or the variance infinite, or NaN, for good. `count` is per entry for that
    reason.
    """

    count: Float[Array, "*shape"]
    mean: Float[Array, "*shape"]
    variance: Float[Array, "*shape"]

    @staticmethod
    def start(shape: tuple[int, ...]) -> "RunningStatistics":
        """Of nothing yet. Normalising by them changes nothing."""
        return RunningStatistics(jnp.zeros(shape), jnp.zeros(shape), jnp.zeros(shape))

    @staticmethod
    def of(batch: Float[Array, "batch *shape"]) -> "RunningStatistics":
        """Of one batch alone, over its first axis."""
        return _of(batch, lambda x: jnp.sum(x, axis=0))

    @staticmethod
    def across(value: Float[Array, "*shape"], axis_name: str) -> "RunningStatistics":
        """Of the values along a named axis of `vmap`; of this one value where it is unbound."""
        value = jax.lax.stop_gradient(value)
        try:
            jax.lax.axis_size(axis_name)
        except NameError:  # what JAX raises for an axis that no vmap around us has named
            return _of(value, lambda x: x)

        def total(x: Array) -> Array:
            summed: Array = jax.lax.psum(x, axis_name)
            return summed

        if jax.sharding.get_abstract_mesh().manual_axes:
            return _of(value, _sum_over_batch)
        return _of(value, total)

    def update(self, batch: Float[Array, "batch *shape"]) -> "RunningStatistics":
        """With a batch more."""
        return self.merge(RunningStatistics.of(batch))

    def merge(self, other: "RunningStatistics") -> "RunningStatistics":
        """Of what both have seen, as if one had seen it all. Either may have seen nothing."""
        count = self.count + other.count
        share = other.count / jnp.maximum(count, 1.0)
        difference = _difference(other.mean, self.mean)
        between = share * (1.0 - share) * jnp.square(difference)
        within = (1.0 - share) * self.variance + share * other.variance
        return RunningStatistics(count, self.mean + share * difference, within + between)

    def scale(self, epsilon: ScalarLike = 1e-8) -> Float[Array, "*shape"]:
        """What to divide by: the standard deviation; 1 where nothing has varied so far."""
        varied = self.variance > 0.0
        # The root is taken of a safe value: at 0 its gradient would be infinite.
        return jnp.where(varied, jnp.sqrt(jnp.where(varied, self.variance, 1.0) + epsilon), 1.0)

    def normalize(
        self, value: Float[Array, "*shape"], epsilon: ScalarLike = 1e-8
    ) -> Float[Array, "*shape"]:
        """A value in standard deviations from the mean. What is not finite stays so."""
        return _difference(value, self.mean) / self.scale(epsilon)


@custom_vmap
def _sum_over_batch(x: Array) -> Array:
    """The sum over the innermost `vmap`, which is that over environments.

    In place of `psum` under `jax.shard_map`, whose check of varying axes (`check_vma`) refuses
    a collective over an axis of `vmap` (an AssertionError up to JAX 0.10.2 at least).
    """
    return x


def _sum_batch(axis_size: int, in_batched: list[bool], x: Array) -> tuple[Array, bool]:
    return (jnp.sum(x, axis=0) if in_batched[0] else axis_size * x), False


_sum_over_batch.def_vmap(_sum_batch)


def _difference(
    one: Float[Array, "*shape"], other: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Of arrays of one shape: nothing is broadcast."""
    return one - other


def _of(
    values: Float[Array, "..."], total: Callable[[Float[Array, "..."]], Float[Array, "..."]]
) -> RunningStatistics:
    """Of some values, which `total` sums up."""
    values = values.astype(float)
    counts = jnp.abs(values) <= _LARGEST  # false for NaN
    known = jnp.where(counts, values, 0.0)
    count = total(counts.astype(float))
    divisor = jnp.maximum(count, 1.0)
    mean = total(known) / divisor
    squares = jnp.where(counts, jnp.square(known - mean), 0.0)
    return RunningStatistics(count, mean, total(squares) / divisor)
