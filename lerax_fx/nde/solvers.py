"""Solvers of one interval: explicit Runge-Kutta methods, and what to do on failure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lerax_fx._core.arguments import check_count
from lerax_fx.errors import HyperparameterError, format_error
from lerax_fx.nde.equations import CDE, SDE, AbstractEquation
from lerax_fx.typing import Flag, Key, Tree


@dataclass(frozen=True)
class Tableau:
    """The Butcher tableau of an explicit Runge-Kutta method, without unused stages.

        z_i = y + sum_j a_ij k_j,   k_i = f(t + c_i h, z_i) h,   y' = y + sum_i b_i k_i

    - `a`: for each stage, its row: `(j, a_ij)` where that is not 0.
    - `b`: `(i, b_i)` where that is not 0.
    - `c`: for each stage.
    """

    a: tuple[tuple[tuple[int, float], ...], ...]
    b: tuple[tuple[int, float], ...]
    c: tuple[float, ...]


def explicit_tableau(solver: Any) -> Tableau | None:
    """The tableau of one of diffrax's solvers; None if it is no explicit Runge-Kutta method.

    It is diffrax's own, but for Euler's method, which has none there.
    """
    import diffrax

    if isinstance(solver, diffrax.Euler):
        return Tableau(((),), ((0, 1.0),), (0.0,))
    if not isinstance(solver, diffrax.AbstractERK):
        return None
    tableau = solver.tableau
    # Some have several, for terms that are split.
    return _needed(tableau) if isinstance(tableau, diffrax.ButcherTableau) else None


def _needed(tableau: Any) -> Tableau:
    rows = [(), *map(_nonzero, tableau.a_lower)]
    b, c = _nonzero(tableau.b_sol), (0.0, *map(float, tableau.c))
    # The last stage of a method whose first stage is the last of the step before gives an
    # estimate of the error alone.
    needed = {i for i, _ in b}
    for i in reversed(range(len(rows))):
        if i in needed:
            needed |= {j for j, _ in rows[i]}
    order = sorted(needed)
    place = {old: new for new, old in enumerate(order)}

    def moved(row: Any) -> tuple[tuple[int, float], ...]:
        return tuple((place[j], weight) for j, weight in row)

    return Tableau(tuple(moved(rows[i]) for i in order), moved(b), tuple(c[i] for i in order))


def _nonzero(row: Any) -> tuple[tuple[int, float], ...]:
    return tuple((i, float(x)) for i, x in enumerate(np.asarray(row)) if x != 0)


_WRITTEN_OUT = 4  # steps; more are a loop


def explicit_interval(
    equation: AbstractEquation,
    tableau: Tableau,
    steps: int,
    y: Tree,
    *,
    t: Any,
    dt: Any,
    control: Any,
    noise: Any,
) -> Tree:
    """Solve one interval by so many equal Runge-Kutta steps.

    **Arguments:**

    - `control`: what the control moves by in the interval, on a straight line; or None.
    - `noise`: what the Brownian motion moves by in each step, `(steps, noise)`; or None.
    """
    h = dt / steps if steps > 1 else dt
    part = control if control is None or steps == 1 else control / steps

    def step(y: Tree, inputs: tuple[Any, Any]) -> tuple[Tree, None]:
        i, moved = inputs
        return explicit_step(equation, tableau, y, t + i * h, h, part, moved), None

    if steps > _WRITTEN_OUT:
        return jax.lax.scan(step, y, (jnp.arange(steps), noise))[0]
    for i in range(steps):
        y, _ = step(y, (i, None if noise is None else noise[i]))
    return y


def explicit_step(
    equation: AbstractEquation, tableau: Tableau, y: Tree, t: Any, h: Any, control: Any, noise: Any
) -> Tree:
    """One Runge-Kutta step, its stages unrolled, without terms whose coefficient is 0."""
    stages: list[Tree] = []
    for row, c in zip(tableau.a, tableau.c, strict=True):
        time = t + c * h if c else t
        stages.append(equation.increment(time, _plus(y, row, stages), h, control, noise))
    return _plus(y, tableau.b, stages)


def _plus(y: Tree, row: tuple[tuple[int, float], ...], stages: list[Tree]) -> Tree:
    """`y` and the weighted stages of a row."""

    def combine(y: Any, *stages: Any) -> Any:
        total: Any = None
        for i, weight in row:
            term = stages[i] if weight == 1 else weight * stages[i]
            total = term if total is None else total + term
        return y if total is None else y + total

    return jax.tree.map(combine, y, *stages)


OnFailure: TypeAlias = str
"""One of `OUTCOMES`."""

OUTCOMES: Final = ("hold", "raise", "propagate")


def outcome(on_failure: OnFailure, failed: Flag, before: Tree, after: Tree) -> Tree:
    """The state after an interval, given what to do on failure.

    **Arguments:**

    - `on_failure`: where `failed`, `"hold"` leaves the state as it was before, `"raise"`
      ends the program with an error, and `"propagate"` gives what came of it, or NaN.
    """
    match on_failure:
        case "hold":
            return jax.tree.map(lambda a, b: jnp.where(failed, a, b), before, after)
        case "raise":
            message = (
                "nde_solve: wanted a finite state after dt >= 0, got a field that exploded, a "
                "stiff one, or a dt below 0 or NaN. Take more steps or an implicit solver, bound "
                "the field, or pass on_failure='hold'."
            )
            return eqx.error_if(after, failed, message)
        case _:
            return jax.tree.map(lambda b: jnp.where(failed, jnp.nan, b), after)


def all_finite(tree: Tree) -> Flag:
    """Whether all numbers of a state are finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def guarded(tree: Tree) -> Tree:
    """The same PyTree, with gradients that are not finite replaced by 0.

    A state that is kept does not depend on the interval that failed, but 0 times the infinite
    slopes within is NaN.
    """
    dynamic: Any
    rest: Any
    dynamic, rest = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(_guard(dynamic), rest)


@jax.custom_vjp
def _guard(tree: Tree) -> Tree:
    return tree


def _forward(tree: Tree) -> tuple[Tree, None]:
    return tree, None


def _backward(residuals: None, gradient: Tree) -> tuple[Tree]:
    del residuals
    return (jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0), gradient),)


_guard.defvjp(_forward, _backward)


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
    """A solver with its options; `nde_solve` explains each.

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
        """The tableau of the unrolled solver, where it is used."""
        import diffrax

        constant = self.controller is None or isinstance(self.controller, diffrax.ConstantStepSize)
        return explicit_tableau(self.solver) if constant and self.adjoint is None else None

    def guarded(self, equation: AbstractEquation) -> AbstractEquation:
        """The equation with gradients that are not finite replaced by 0.

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
        from lerax_fx.nde.diffrax_solvers import brownian_increments, general_interval

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
    """Check the options of `nde_solve`, and make a `Method` of them.

    **Raises:** `HyperparameterError`.
    """
    import diffrax

    solver = _solver(where, solver)
    if controller is not None:
        _check_kind(f"{where}: controller", controller, diffrax.AbstractStepSizeController)
    if not _is_among(adjoint, ("store", "recompute")):
        _check_kind(
            f"{where}: adjoint", adjoint, diffrax.AbstractAdjoint, "'store', 'recompute' or "
        )
    if not _is_among(on_failure, OUTCOMES):
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
    """Check that an equation gets what it needs, and nothing else.

    **Raises:** `HyperparameterError`.
    """
    if isinstance(equation, CDE) != (control is not None):
        wanted = "for a CDE: what the control moves by" if control is None else "None: no CDE"
        _refuse("nde_solve: control", wanted, control)
    if isinstance(equation, SDE) and key is None:
        _refuse("nde_solve: key", "a random key, for an SDE", key)


def _is_among(value: Any, names: Iterable[str]) -> bool:
    """Whether it is one of these names; an array compares with each number in it."""
    return isinstance(value, str) and value in names


def _solver(where: str, solver: Any) -> Any:
    import diffrax

    if _is_among(solver, ("rk4",)):
        from lerax_fx.nde.diffrax_solvers import RK4

        return RK4()
    if _is_among(solver, SOLVERS):
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
    raise HyperparameterError(format_error(where, wanted=wanted, got=repr(got), fix="Pass that."))
