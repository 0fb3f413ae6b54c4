"""Explicit Runge-Kutta methods as plain numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tableau:
    """The coefficients of an explicit Runge-Kutta method, without stages that nothing uses.

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
