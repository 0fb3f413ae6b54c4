"""The cross-entropy method: a search by samples alone."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lerax_fx.core.arguments import known_names
from lerax_fx.core.bounds import Interval, check_count, check_number
from lerax_fx.errors import HyperparameterError, explain
from lerax_fx.types import Key, Scalar


@final
class Search(eqx.Module):
    """What a search has come to: independent Gaussians over where the best point lies.

    - `mean`, `std`: of each number of the point.
    """

    mean: Float[Array, "*shape"]
    std: Float[Array, "*shape"]


@known_names
def cem(
    score: Callable[[Array], Scalar],
    start: Search,
    *,
    key: Key,
    low: Any = -jnp.inf,
    high: Any = jnp.inf,
    num_samples: int = 128,
    num_elites: int = 16,
    num_iterations: int = 3,
    momentum: ScalarLike = 0.0,
) -> Search:
    """Look for a point of high score: draw, keep the best, fit a Gaussian to them, and again.

    Rubinstein 1999, "The Cross-Entropy Method for Combinatorial and Continuous
    Optimization"; as a planner, with the mean among the candidates and the best of all
    iterations so far kept, Pinneri et al. 2020, "Sample-efficient Cross-Entropy Method for
    Real-time Planning", section 3.

        cem(lambda x: -jnp.sum((x - 1) ** 2), Search(jnp.zeros(2), jnp.ones(2)), key=key)

    **Arguments:**

    - `score`: of one point; the higher, the better. It need not be differentiable. A score
      that is NaN counts as the worst of all.
    - `start`: where to look first.
    - `low`, `high`: bounds of the points, which broadcast to their shape. What is drawn
      beyond is brought to them.
    - `num_samples`: how many points are scored in each iteration.
    - `num_elites`: how many of the best the Gaussian is fitted to.
    - `num_iterations`: how many times.
    - `momentum`: of the Gaussian's mean and deviation, how much of the old one is kept, in
      [0, 1].

    **Returns:** the last Gaussian. Its mean is the point that was found.

    **Raises:** `HyperparameterError` for a count below 1, more elites than samples, or a
    momentum outside [0, 1].
    """
    check_count("cem: num_iterations", num_iterations)
    check_elites("cem", num_samples, num_elites)
    keep = jnp.asarray(check_number("cem: momentum", momentum, Interval(0.0, 1.0)))

    def draw(search: Search, key: Key) -> Array:
        noise = jax.random.normal(key, (num_samples, *search.mean.shape), search.mean.dtype)
        return jnp.clip(search.mean + search.std * noise, low, high)

    def refine(carry: tuple[Search, Array], key: Key) -> tuple[tuple[Search, Array], None]:
        search, best = carry
        points = jnp.concatenate([best, draw(search, key)])
        scores = jax.vmap(score)(points)
        scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
        elites = points[jax.lax.top_k(scores, num_elites)[1]]
        mean = keep * search.mean + (1 - keep) * elites.mean(0)
        std = keep * search.std + (1 - keep) * elites.std(0)
        return (Search(mean, std), jnp.stack([mean, elites[0]])), None

    mean = jnp.clip(start.mean, low, high)
    keys = jax.random.split(key, num_iterations)
    (search, _), _ = jax.lax.scan(refine, (start, jnp.stack([mean, mean])), keys)
    return search


def check_elites(where: str, num_samples: int, num_elites: int) -> None:
    """**Raises:** `HyperparameterError` unless there are as many samples as elites."""
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
