"""The cross-entropy method: a search by samples alone."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_count
from lerax_fx.errors import HyperparameterError, explain
from lerax_fx.types import Key, Scalar


@final
class Gaussian(eqx.Module):
    """Where a search looks: around a point, so far in each of its numbers.

    - `mean`, `std`: of each number of the point.
    """

    mean: Float[Array, "*shape"]
    std: Float[Array, "*shape"]


@known_names
def cem(
    score: Callable[[Array], Scalar],
    start: Gaussian,
    *,
    key: Key,
    low: Any = -jnp.inf,
    high: Any = jnp.inf,
    num_samples: int = 64,
    num_elites: int = 8,
    num_iterations: int = 3,
) -> Gaussian:
    """Look for a point of high score: draw from a Gaussian, fit it to the best, and again.

        found = cem(lambda x: -jnp.sum((x - 1) ** 2), Gaussian(zeros, ones), key=key)

    Rubinstein 1999, "The Cross-Entropy Method for Combinatorial and Continuous
    Optimization". As in Pinneri et al. 2020, "Sample-efficient Cross-Entropy Method for
    Real-time Planning", section 3, the mean and the best point so far compete with what is
    drawn, so that an iteration that draws nothing better loses nothing.

    **Arguments:**

    - `score`: of one point: the higher, the better. It need not be smooth. What is NaN
      counts as the worst of all.
    - `start`: where to look first. The deviation shrinks as the search goes, so it has to be
      wide enough for what is looked for.
    - `low`, `high`: bounds of the points, which broadcast to their shape. What is drawn
      beyond them is brought to them.
    - `num_samples`: how many points are drawn in each iteration.
    - `num_elites`: how many of the best the Gaussian is fitted to.
    - `num_iterations`: how many iterations.

    **Returns:** the last Gaussian. Its mean is the point that was found.

    **Raises:** `HyperparameterError` for a count below 1, more elites than samples, or a `low`
    above `high`, if they are known while tracing.
    """
    check_search("cem", num_samples, num_elites, num_iterations)
    _check_bounds(low, high)

    def draw(around: Gaussian, key: Key) -> Array:
        noise = jax.random.normal(key, (num_samples, *around.mean.shape), around.mean.dtype)
        return jnp.clip(around.mean + around.std * noise, low, high)

    def refine(carry: tuple[Gaussian, Array], key: Key) -> tuple[tuple[Gaussian, Array], None]:
        around, kept = carry
        points = jnp.concatenate([kept, draw(around, key)])
        scores = jax.vmap(score)(points)
        best = jax.lax.top_k(jnp.where(jnp.isnan(scores), -jnp.inf, scores), num_elites)[1]
        elites = points[best]
        around = Gaussian(elites.mean(0), elites.std(0))
        return (around, jnp.stack([around.mean, elites[0]])), None

    mean = jnp.clip(start.mean, low, high)
    keys = jax.random.split(key, num_iterations)
    # At first the same point twice: the carry of a scan keeps its shape.
    (found, _), _ = jax.lax.scan(refine, (start, jnp.stack([mean, mean])), keys)
    return found


def _check_bounds(low: Any, high: Any) -> None:
    if isinstance(low, Tracer) or isinstance(high, Tracer) or np.all(np.less_equal(low, high)):
        return
    raise HyperparameterError(
        explain("cem: low", wanted=f"at most high, {high}", got=f"{low}", fix="Swap the two.")
    )


def check_search(where: str, num_samples: int, num_elites: int, num_iterations: int) -> None:
    """**Raises:** `HyperparameterError` for a count below 1, or more elites than samples."""
    check_count(f"{where}: num_iterations", num_iterations)
    check_count(f"{where}: num_samples", num_samples)
    if check_count(f"{where}: num_elites", num_elites) > num_samples:
        raise HyperparameterError(
            explain(
                f"{where}: num_elites",
                wanted=f"at most num_samples, {num_samples}",
                got=f"{num_elites}",
                fix="Lower num_elites, or raise num_samples.",
            )
        )
