"""Vector fields that are networks."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.mlp import MLP


@final
class NetworkField(eqx.Module):
    """A network of the state alone, whose outputs are bounded by 1: no state explodes in a
    finite time, and no gradient through many steps at once.
    """

    network: MLP

    def __call__(self, t: Any, y: Float[Array, " size"]) -> Float[Array, " size"]:
        del t
        return jnp.tanh(self.network(y))


@final
class MatrixField(eqx.Module):
    """A network of the state alone, with a column for each channel of a control, the first of
    which is time.

    The network's outputs are bounded by 1, which Kidger et al. 2020, appendix D, found to
    matter for training. In time, each entry of the state also leaks, at a rate between 0 and 1
    that is learnt: without it nothing is ever forgotten, and what the control has done lately,
    such as a velocity, is hard to tell from where it is.

    - `leak`: the logits of the rates.
    """

    network: MLP
    leak: Float[Array, " size"]

    def __call__(self, t: Any, y: Float[Array, " size"]) -> Float[Array, "size channels"]:
        del t
        columns = jnp.tanh(self.network(y)).reshape(*y.shape, -1)
        return columns.at[:, 0].add(-jax.nn.sigmoid(self.leak) * y)


@final
class GRUField(eqx.Module):
    """The GRU-ODE of de Brouwer et al. 2019, "GRU-ODE-Bayes: Continuous Modeling of
    Sporadically-Observed Time Series", eq. 3, without input: a state in [-1, 1] stays there.

        r, z = sigmoid(U h + b),   dh/dt = (1 - z) (tanh(U_n (r h) + b_n) - h)
    """

    weight: Float[Array, "size gates"]
    bias: Float[Array, " gates"]
    inward: Float[Array, "size size"]
    inward_bias: Float[Array, " size"]

    def __call__(self, t: Any, y: Float[Array, " size"]) -> Float[Array, " size"]:
        del t
        reset, keep = jnp.split(jax.nn.sigmoid(y @ self.weight + self.bias), 2)
        new = jnp.tanh((reset * y) @ self.inward + self.inward_bias)
        return (1 - keep) * (new - y)
