"""How a differential equation is solved over one interval."""

from typing import Any, Final, final

import equinox as eqx
import jax.numpy as jnp

from lerax_fx.core.bounds import check_count
from lerax_fx.errors import HyperparameterError, explain
from lerax_fx.nde.equations import CDE, SDE, AbstractEquation
from lerax_fx.nde.explicit import explicit_interval
from lerax_fx.nde.failure import OUTCOMES, OnFailure, all_finite, guarded, outcome
from lerax_fx.nde.tableau import Tableau, explicit_tableau
from lerax_fx.types import Flag, Key, Tree

SOLVERS: Final = {
    "euler": "Euler",
    "heun": "Heun",
    "midpoint": "Midpoint",
    "ralston": "Ralston",
    "bosh3": "Bosh3",
    "tsit5": "Tsit5",
    "dopri5": "Dopri5",
    "dopri8": "Dopri8",
}
"""The names that a solver may be given by, besides `"rk4"`, and diffrax's for it."""


@final
class Method(eqx.Module):
    """A solver with everything that it wants to be told; `nde_solve` explains each.

    It holds no arrays, so that it can be structure: a static field of an agent.
    """

    solver: Any
    controller: Any
    adjoint: Any
    steps: int = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    recompute: bool = eqx.field(static=True)
    on_failure: OnFailure = eqx.field(static=True)

    @property
    def tableau(self) -> Tableau | None:
        """Of the fast path, if that is to be taken."""
        import diffrax

        constant = self.controller is None or isinstance(self.controller, diffrax.ConstantStepSize)
        return explicit_tableau(self.solver) if constant and self.adjoint is None else None

    def guarded(self, equation: AbstractEquation) -> AbstractEquation:
        """The equation, into whose arrays no NaN flows back from an interval that failed.

        To be called outside of loops: there it costs nothing.
        """
        return guarded(equation) if self.on_failure == "hold" else equation

    def interval(
        self, equation: AbstractEquation, y: Tree, *, t: Any, dt: Any, control: Any, key: Key | None
    ) -> tuple[Tree, Flag]:
        """The state at the end of one interval, and whether the interval failed: the state
        would not be finite, `dt` is below 0 or NaN, or diffrax gave up.
        """

        def solve(equation: AbstractEquation, y: Tree, t: Any, dt: Any, control: Any) -> Any:
            return self._solve(equation, y, t, dt, control, key)

        check_interval(equation, control, key)
        possible = jnp.asarray(dt >= 0)
        length = jnp.where(possible, dt, 0.0)
        given = (y, t, length, control)
        given = guarded(given) if self.on_failure == "hold" else given
        # Filtered: a field may hold functions, as eqx.nn.MLP does its activation.
        solve = eqx.filter_checkpoint(solve) if self.recompute else solve
        after, solved = solve(equation, *given)
        failed = ~(possible & solved & all_finite(after))
        return outcome(self.on_failure, failed, y, after), failed

    def _solve(
        self, equation: AbstractEquation, y: Tree, t: Any, dt: Any, control: Any, key: Key | None
    ) -> tuple[Tree, Any]:
        from lerax_fx.nde.general import brownian_increments, general_interval

        tableau = self.tableau
        if isinstance(equation, SDE):
            _check_stochastic(self.solver)
        if tableau is None:
            return general_interval(
                equation,
                self.solver,
                y,
                t=t,
                dt=dt,
                control=control,
                key=key,
                steps=self.steps,
                controller=self.controller,
                adjoint=self.adjoint,
                max_steps=self.max_steps,
                on_grid=explicit_tableau(self.solver) is not None and self.controller is None,
            )
        noise = None
        if isinstance(equation, SDE):
            assert key is not None
            noise = brownian_increments(key, dt, self.steps, equation.noise)
        after = explicit_interval(
            equation, tableau, self.steps, y, t=t, dt=dt, control=control, noise=noise
        )
        return after, True


def method(
    where: str,
    *,
    solver: Any = "heun",
    steps: int = 1,
    controller: Any = None,
    adjoint: Any = "store",
    on_failure: OnFailure = "hold",
    max_steps: int = 4096,
) -> Method:
    """Check what `nde_solve` was told, and put it together.

    **Raises:** `HyperparameterError`.
    """
    import diffrax

    solver = _solver(where, solver)
    if controller is not None:
        _check_kind(f"{where}: controller", controller, diffrax.AbstractStepSizeController)
    if adjoint not in ("store", "recompute"):
        _check_kind(
            f"{where}: adjoint", adjoint, diffrax.AbstractAdjoint, "'store', 'recompute' or "
        )
    if on_failure not in OUTCOMES:
        _refuse(f"{where}: on_failure", f"one of {', '.join(map(repr, OUTCOMES))}", on_failure)
    return Method(
        solver,
        controller,
        None if isinstance(adjoint, str) else adjoint,
        check_count(f"{where}: steps", steps),
        check_count(f"{where}: max_steps", max_steps),
        adjoint == "recompute",
        on_failure,
    )


def check_interval(equation: AbstractEquation, control: Any, key: Any) -> None:
    """Whether there is what an equation needs, and nothing else.

    **Raises:** `HyperparameterError`.
    """
    if isinstance(equation, CDE) != (control is not None):
        wanted = "for a CDE: what the control moves by" if control is None else "None: no CDE"
        _refuse("nde_solve: control", wanted, control)
    if isinstance(equation, SDE) and key is None:
        _refuse("nde_solve: key", "a random key, for an SDE", key)


def _solver(where: str, solver: Any) -> Any:
    import diffrax

    if solver == "rk4":
        from lerax_fx.nde.rk4 import RK4

        return RK4()
    if isinstance(solver, str) and solver in SOLVERS:
        return getattr(diffrax, SOLVERS[solver])()
    names = ", ".join(map(repr, (*SOLVERS, "rk4")))
    _check_kind(f"{where}: solver", solver, diffrax.AbstractSolver, f"one of {names}, or ")
    return solver


def _check_stochastic(solver: Any) -> None:
    import diffrax

    if not isinstance(solver, diffrax.AbstractItoSolver | diffrax.AbstractStratonovichSolver):
        _refuse(
            "nde_solve: solver",
            "for an SDE, a solver that converges to Ito's or Stratonovich's solution, as "
            "diffrax.Euler and diffrax.Heun",
            solver,
        )


def _check_kind(where: str, value: Any, kind: Any, otherwise: str = "") -> None:
    if not isinstance(value, kind):
        _refuse(where, f"{otherwise}a diffrax.{kind.__name__}", value)


def _refuse(where: str, wanted: str, got: Any) -> None:
    raise HyperparameterError(explain(where, wanted=wanted, got=repr(got), fix="Pass that."))
