"""The classical Runge-Kutta method, which diffrax leaves out."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, final

import diffrax
import numpy as np

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
