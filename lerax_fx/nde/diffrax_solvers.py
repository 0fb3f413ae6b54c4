"""diffrax's solvers, controllers and adjoints over one interval, and RK4 for diffrax."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lerax_fx.nde.equations import SDE, AbstractEquation
from lerax_fx.typing import Flag, Key, Tree

_Tableau: TypeAlias = diffrax.ButcherTableau | diffrax.MultiButcherTableau


@final
class RK4(diffrax.AbstractERK):
    """Kutta 1901, "Beitrag zur naeherungsweisen Integration totaler Differentialgleichungen";
    fourth order, four stages, no estimate of the error: for constant steps.
    """

    tableau: ClassVar[diffrax.ButcherTableau | diffrax.MultiButcherTableau] = (
        diffrax.ButcherTableau(
            a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
            b_sol=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
            b_error=np.zeros(4),
            c=np.array([0.5, 0.5, 1.0]),
        )
    )
    interpolation_cls: ClassVar[Callable[..., Any]] = (
        diffrax.ThirdOrderHermitePolynomialInterpolation.from_k
    )

    def order(self, terms: Any) -> int:
        del terms
        return 4


@final
class Slope(eqx.Module):
    """The vector field over the interval as a whole, parametrised from 0 to 1.

    So an interval of length 0 is like any other. A module, not a closure: diffrax's
    adjoints differentiate with respect to the arrays of a term.
    """

    equation: AbstractEquation
    t: Any
    dt: Any
    control: Any

    def __call__(self, s: Any, y: Tree, args: Any) -> Tree:
        del args
        return self.equation.increment(self.t + s * self.dt, y, self.dt, self.control, None)


@final
class Drift(eqx.Module):
    """The drift of an SDE over the interval as a whole."""

    equation: SDE
    t: Any
    dt: Any

    def __call__(self, s: Any, y: Tree, args: Any) -> Tree:
        del args
        slope = self.equation.drift(self.t + s * self.dt, y)
        return jax.tree.map(lambda x: x * self.dt, slope)


@final
class Diffusion(eqx.Module):
    """The diffusion of an SDE over the interval as a whole."""

    equation: SDE
    t: Any
    dt: Any

    def __call__(self, s: Any, y: Tree, args: Any) -> Tree:
        del args
        scale = safe_sqrt(self.dt)
        return jax.tree.map(lambda x: x * scale, self.equation.diffusion(self.t + s * self.dt, y))


@final
class BrownianGrid(diffrax.AbstractPath[Any]):
    """A Brownian motion on [0, 1], known at the ends of so many equal steps."""

    increments: Float[Array, "steps noise"]
    t0 = 0.0
    t1 = 1.0

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Any:
        del left
        return self._at(t0) if t1 is None else self._at(t1) - self._at(t0)

    def _at(self, t: Any) -> Array:
        zero = jnp.zeros_like(self.increments[:1])
        values = jnp.concatenate([zero, jnp.cumsum(self.increments, axis=0)])
        times = jnp.linspace(0.0, 1.0, len(values))
        return jax.vmap(lambda column: jnp.interp(t, times, column), in_axes=1)(values)


def general_interval(
    equation: AbstractEquation,
    solver: Any,
    y: Tree,
    *,
    t: Any,
    dt: Any,
    control: Any,
    key: Key | None,
    steps: int,
    controller: Any,
    adjoint: Any,
    max_steps: int,
    on_grid: bool,
) -> tuple[Tree, Flag]:
    """The state at the end of one interval, and whether diffrax could solve it.

    **Arguments:**

    - `on_grid`: whether an SDE sees the Brownian increments that equal steps would see.
    """
    constant = controller is None or isinstance(controller, diffrax.ConstantStepSize)
    solution = diffrax.diffeqsolve(
        _terms(equation, solver, t, dt, control, key, steps, on_grid),
        solver,
        0.0,
        1.0,
        1 / steps if constant else None,
        y,
        stepsize_controller=diffrax.ConstantStepSize() if controller is None else controller,
        adjoint=diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
        # One more than there should be: rounding may cut the last one in two.
        max_steps=steps + 1 if constant else max_steps,
        throw=False,
    )
    assert solution.ys is not None
    after = jax.tree.map(lambda x: x[-1], solution.ys)
    return after, solution.result == diffrax.RESULTS.successful


def _terms(
    equation: AbstractEquation,
    solver: Any,
    t: Any,
    dt: Any,
    control: Any,
    key: Key | None,
    steps: int,
    on_grid: bool,
) -> Any:
    if not isinstance(equation, SDE):
        return diffrax.ODETerm(Slope(equation, t, dt, control))
    assert key is not None
    if on_grid:
        path: Any = BrownianGrid(brownian_increments(key, 1.0, steps, equation.noise))
    else:
        path = diffrax.VirtualBrownianTree(
            0.0, 1.0, tol=2**-12, shape=(equation.noise,), key=key, levy_area=_levy_area(solver)
        )
    drift = diffrax.ODETerm(Drift(equation, t, dt))
    return diffrax.MultiTerm(drift, diffrax.ControlTerm(Diffusion(equation, t, dt), path))


def _levy_area(solver: Any) -> Any:
    """What a solver needs of the Brownian motion besides its increments."""
    wanted = getattr(solver, "minimal_levy_area", diffrax.BrownianIncrement)
    areas = (diffrax.BrownianIncrement, diffrax.SpaceTimeLevyArea, diffrax.SpaceTimeTimeLevyArea)
    return next(area for area in areas if issubclass(area, wanted))


def brownian_increments(key: Key, dt: Any, steps: int, noise: int) -> Float[Array, "steps noise"]:
    """Independent Brownian increments over equal steps."""
    return safe_sqrt(dt / steps) * jax.random.normal(key, (steps, noise))


def safe_sqrt(x: Any) -> Any:
    """The square root, with gradient 0 at 0."""
    positive = jnp.asarray(x) > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)
