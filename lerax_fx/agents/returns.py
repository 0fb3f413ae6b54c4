"""Return distributions: categorical and quantile."""

import abc
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class AbstractReturns(eqx.Module):
    """Discrete distributions of the return: `atoms` (values) with `probabilities`."""

    @property
    @abc.abstractmethod
    def atoms(self) -> Float[Array, "*batch atoms"]:
        """The support; without the leading axes where it is the same for all."""

    @property
    @abc.abstractmethod
    def probabilities(self) -> Float[Array, "*batch atoms"]:
        """The probability of each atom."""

    @property
    @abc.abstractmethod
    def mean(self) -> Float[Array, "*batch"]:
        """The expected return: the Q-value."""


@final
class CategoricalReturns(AbstractReturns):
    """Fixed atoms, evenly spaced, and the logits of their probabilities: Bellemare et al.
    2017, "A Distributional Perspective on Reinforcement Learning", section 4.

    - `logits`: one for each atom.
    - `support`: the lowest and the highest atom.
    """

    logits: Float[Array, "*batch atoms"]
    support: tuple[float, float] = eqx.field(static=True)

    @property
    def atoms(self) -> Float[Array, " atoms"]:
        return jnp.linspace(*self.support, self.logits.shape[-1])

    @property
    def probabilities(self) -> Float[Array, "*batch atoms"]:
        return jax.nn.softmax(self.logits)

    @property
    def mean(self) -> Float[Array, "*batch"]:
        return self.probabilities @ self.atoms


@final
class QuantileReturns(AbstractReturns):
    """Atoms of equal probability, the i-th of N the quantile at `(i + 1/2) / N`: Dabney et
    al. 2018, "Distributional Reinforcement Learning with Quantile Regression", lemma 2.

    - `quantiles`: in the order of the fractions; a network may give them out of order.
    """

    quantiles: Float[Array, "*batch atoms"]

    @property
    def atoms(self) -> Float[Array, "*batch atoms"]:
        return self.quantiles

    @property
    def probabilities(self) -> Float[Array, "*batch atoms"]:
        return jnp.full_like(self.quantiles, 1 / self.quantiles.shape[-1])

    @property
    def mean(self) -> Float[Array, "*batch"]:
        return self.quantiles.mean(axis=-1)

    @property
    def fractions(self) -> Float[Array, " atoms"]:
        """The probability of a return below each quantile."""
        count = self.quantiles.shape[-1]
        return (jnp.arange(count) + 0.5) / count


Returns = CategoricalReturns | QuantileReturns


def returns_of_action(returns: Any, action: Int[Array, "*batch"]) -> Any:
    """The return distribution of one action; the axis of actions is the last but one."""
    index = action[..., None, None]
    return jax.tree.map(lambda x: jnp.take_along_axis(x, index, axis=-2)[..., 0, :], returns)
