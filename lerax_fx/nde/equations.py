"""What is solved: an ordinary, a controlled or a stochastic differential equation."""

import abc
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
        return jax.tree.map(lambda slope: slope * h, self.field(t, y))


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
        return jax.tree.map(lambda matrix: along(matrix, control), self.field(t, y))


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

    def increment(self, t: Any, y: Tree, h: Any, control: Any, noise: Any) -> Tree:
        del control
        drift, diffusion = self.drift(t, y), self.diffusion(t, y)
        return jax.tree.map(lambda a, b: a * h + along(b, noise), drift, diffusion)


def along(
    matrix: Float[Array, "*state channels"], direction: Float[Array, " channels"]
) -> Float[Array, "*state"]:
    """The product over the last axis."""
    return jnp.matmul(matrix, direction)
