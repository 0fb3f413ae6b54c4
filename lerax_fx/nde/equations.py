"""Ordinary, controlled and stochastic differential equations, and neural vector fields."""

import abc
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_count
from lerax_fx.agents.networks import MLP
from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Tree


class AbstractEquation(eqx.Module):
    """A differential equation, by its increment over a small step of time."""

    @abc.abstractmethod
    def increment(self, t: Any, y: Tree, h: Any, control: Any, noise: Any) -> Tree:
        """The increment of a step of length `h` from time `t` and state `y`, at first order.

        **Arguments:**

        - `control`: what the control moves by in that step; None if there is none.
        - `noise`: what the Brownian motion moves by; None if there is none.
        """


@final
class ODE(AbstractEquation):
    """`dy/dt = field(t, y)`.

    - `field`: gives what has the structure of `y`. If it is a module, gradients reach its
      arrays through every kind of adjoint.
    """

    field: Callable[[Any, Any], Any]

    def increment(self, t: Any, y: Tree, h: Any, control: Any, noise: Any) -> Tree:
        del control, noise
        slope = self.field(t, y)
        _check_shapes("ODE: field", y, slope, axes=0)
        return jax.tree.map(lambda slope: slope * h, slope)


@final
class CDE(AbstractEquation):
    """`dy = field(t, y) dX(t)`, driven by a control `X`: Kidger et al. 2020, "Neural Controlled
    Differential Equations for Irregular Time Series", eq. 4.

    - `field`: gives for each array of `y` one with a last axis more, over the channels of
      the control.

    What moves the state is the control alone; time only tells `field` how late it is.
    """

    field: Callable[[Any, Any], Any]

    def increment(self, t: Any, y: Tree, h: Any, control: Any, noise: Any) -> Tree:
        del h, noise
        matrix = self.field(t, y)
        _check_shapes("CDE: field", y, matrix, axes=1)
        return jax.tree.map(lambda matrix: along(matrix, control), matrix)


@final
class SDE(AbstractEquation):
    """`dy = drift(t, y) dt + diffusion(t, y) dW(t)`, with a Brownian motion `W`.

    - `drift`: gives what has the structure of `y`.
    - `diffusion`: gives for each array of `y` one with a last axis more, of length `noise`.
    - `noise`: the number of independent Brownian motions.

    In Ito's sense or Stratonovich's: the solver decides.
    """

    drift: Callable[[Any, Any], Any]
    diffusion: Callable[[Any, Any], Any]
    noise: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_count("SDE: noise", self.noise)

    def increment(self, t: Any, y: Tree, h: Any, control: Any, noise: Any) -> Tree:
        del control
        drift, diffusion = self.drift(t, y), self.diffusion(t, y)
        _check_shapes("SDE: drift", y, drift, axes=0)
        _check_shapes("SDE: diffusion", y, diffusion, axes=1)
        return jax.tree.map(lambda a, b: a * h + along(b, noise), drift, diffusion)


def _check_shapes(where: str, y: Tree, given: Tree, *, axes: int) -> None:
    """**Raises:** `WiringError` unless what a field gives has the shapes of the state, and so many
    axes after them. Else it would be broadcast, and the numbers be others than meant.
    """
    wanted = [jnp.shape(leaf) for leaf in jax.tree.leaves(y)]
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(given)]
    fits = len(wanted) == len(shapes) and all(
        len(own) == len(shape) + axes and own[: len(shape)] == shape
        for own, shape in zip(shapes, wanted, strict=True)
    )
    if not fits:
        more = ", each with one axis more, over the channels" if axes else ""
        raise WiringError(
            format_error(
                where,
                wanted=f"what the state has: shapes {wanted}{more}",
                got=f"{shapes}",
                fix="Give an array for each of the state's"
                + (", for instance a diagonal matrix, jnp.diag(...)." if axes else "."),
            )
        )


def along(
    matrix: Float[Array, "*state channels"], direction: Float[Array, " channels"]
) -> Float[Array, "*state"]:
    """The product over the last axis."""
    return jnp.matmul(matrix, direction)


@final
class NetworkField(eqx.Module):
    """A vector field of a network of the state alone, bounded by 1: no state explodes in a finite
    time, and no gradient through many steps at once.
    """

    network: MLP

    def __call__(self, t: Any, y: Float[Array, " size"]) -> Float[Array, " size"]:
        del t
        return jnp.tanh(self.network(y))


@final
class MatrixField(eqx.Module):
    """A vector field of a network of the state alone, with a column for each channel of a control,
    the first of which is time.

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
