"""What is solved: an ordinary, a controlled or a stochastic differential equation."""

import abc
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.bounds import check_count
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Tree


class AbstractEquation(eqx.Module):
    """A differential equation, by what it adds to the state over a small piece of time."""

    @abc.abstractmethod
    def increment(self, t: Any, y: Tree, h: Any, control: Any, noise: Any) -> Tree:
        """What a step of length `h` from time `t` and state `y` adds to the state, at first
        order.

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
            explain(
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
