"""Explicit Runge-Kutta methods with constant steps, written out."""

from typing import Any

import jax
import jax.numpy as jnp

from lerax_fx.nde.equations import AbstractEquation
from lerax_fx.nde.tableau import Tableau
from lerax_fx.types import Tree

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
    """The state at the end of one interval, by so many equal steps.

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
    """One step, its stages unrolled, without those terms whose coefficient is 0."""
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
