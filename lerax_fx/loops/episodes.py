"""Returns and lengths of episodes, counted while acting."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lerax_fx._core.absent import absent
from lerax_fx.types import Flag, Metrics, Scalar


@final
class Episodes(eqx.Module):
    """The episodes of one environment: the one that runs, and sums over those that ended.

    - `running_return`, `running_length`: of the episode so far.
    - `ended`: how many ended since the sums were last cleared.
    - `ended_return`, `ended_length`: sums over these.

    Returns are sums of rewards, without discount.
    """

    running_return: Float[Array, "..."]
    running_length: Int[Array, "..."]
    ended: Int[Array, "..."]
    ended_return: Float[Array, "..."]
    ended_length: Int[Array, "..."]

    @staticmethod
    def start() -> "Episodes":
        """Before the first step."""
        none, nothing = jnp.zeros((), jnp.int32), jnp.zeros(())
        return Episodes(nothing, none, none, nothing, none)

    def after(self, reward: Scalar, done: Flag) -> "Episodes":
        """After one more step."""
        total, length = self.running_return + reward, self.running_length + 1
        return Episodes(
            jnp.where(done, 0.0, total),
            jnp.where(done, 0, length),
            self.ended + done,
            self.ended_return + jnp.where(done, total, 0.0),
            self.ended_length + jnp.where(done, length, 0),
        )

    def metrics(self) -> Metrics:
        """Mean return and length over the episodes that ended in a batch of environments,
        NaN where none did.
        """
        ended = self.ended.sum()
        # The divisor is made safe before dividing: a gradient would see 0/0 otherwise.
        divisor = jnp.maximum(ended, 1)

        def mean(total: jax.Array) -> jax.Array:
            each = total.sum() / divisor
            return jnp.where(ended > 0, each, absent((), each.dtype))

        return {
            "episode_return": mean(self.ended_return),
            "episode_length": mean(self.ended_length),
        }

    def cleared(self) -> "Episodes":
        """The same with the sums at zero; what runs goes on."""
        none, nothing = jnp.zeros_like(self.ended), jnp.zeros_like(self.ended_return)
        return Episodes(self.running_return, self.running_length, none, nothing, none)
