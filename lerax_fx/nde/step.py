"""One step of a Runge-Kutta method."""

from collections.abc import Callable
from typing import Any

import jax


def heun(field: Callable[[Any], Any], y: Any, dt: Any) -> Any:
    """Heun's method, of second order: from `y` over a time `dt` along `dy/dt = field(y)`."""
    first = field(y)
    second = field(jax.tree.map(lambda y, k: y + dt * k, y, first))
    return jax.tree.map(lambda y, k, l: y + dt * (k + l) / 2, y, first, second)
