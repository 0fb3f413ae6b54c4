"""The cross-entropy method against points that are known to be the best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lerax_fx as fx

KEY = jax.random.key(0)
# Wide enough: the deviation shrinks in each iteration, and with it how far a search still gets.
START = fx.planning.Gaussian(jnp.zeros(3), jnp.full(3, 3.0))
BEST = np.array([0.7, -1.5, 3.0])
CURVATURE = np.array([1.0, 4.0, 0.25])


def quadratic(x):
    return -jnp.sum(CURVATURE * (x - BEST) ** 2)


@pytest.mark.quick("key0")
@pytest.mark.parametrize("key", jax.random.split(KEY, 4))
def test_the_top_of_a_quadratic_is_found(key):
    search = {"num_samples": 128, "num_elites": 16, "num_iterations": 30}
    found = fx.planning.cem(quadratic, START, key=key, **search)
    np.testing.assert_allclose(found.mean, BEST, atol=1e-2)
    assert (found.std < 1e-2).all()


def test_within_bounds_it_is_the_nearest_point_there():
    """Of a quadratic without products: each number by itself."""
    search = {"num_samples": 128, "num_elites": 8, "num_iterations": 20}
    found = fx.planning.cem(
        quadratic, START, key=KEY, low=-1.0, high=np.array([2.0, 2.0, 1.0]), **search
    )
    np.testing.assert_allclose(found.mean, [0.7, -1.0, 1.0], atol=1e-2)


def test_one_iteration_is_that_by_hand():
    number, elites = 10, 3
    draw_key = jax.random.split(KEY, 1)[0]
    start = fx.planning.Gaussian(jnp.array([1.0, 0.0, -1.0]), jnp.array([1.0, 2.0, 0.5]))
    noise = np.asarray(jax.random.normal(draw_key, (number, 3)))
    drawn = np.asarray(start.mean) + np.asarray(start.std) * noise
    points = np.concatenate([np.asarray(start.mean)[None].repeat(2, 0), drawn]).clip(-1.2, 1.2)
    scores = -np.sum(CURVATURE * (points - BEST) ** 2, -1)
    best = points[np.argsort(-scores, kind="stable")[:elites]]
    search = {"num_samples": number, "num_elites": elites, "num_iterations": 1}
    found = fx.planning.cem(quadratic, start, key=KEY, low=-1.2, high=1.2, **search)
    np.testing.assert_allclose(found.mean, best.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.std, best.std(0), rtol=1e-4, atol=1e-6)


def test_what_was_good_is_not_lost():
    """A peak that no draw comes near again."""
    peak = jnp.array([0.1, 0.2, 0.3])

    def score(x):
        return jnp.where(jnp.all(x == peak), 1.0, 0.0)

    start = fx.planning.Gaussian(peak, jnp.ones(3))
    found = fx.planning.cem(score, start, key=KEY, num_elites=1, num_iterations=5)
    np.testing.assert_allclose(found.mean, peak, rtol=1e-6)


@pytest.mark.parametrize("good", [0.0, np.nan])
def test_no_nan_comes_out(good):
    """Neither where some scores are NaN, nor where all are."""

    def score(x):
        return jnp.where(x[0] > 0, good, jnp.nan)

    found = fx.planning.cem(score, START, key=KEY, low=-1.0, high=1.0)
    assert np.isfinite(found.mean).all()
    assert np.isfinite(found.std).all()
    if good == 0.0:
        assert found.mean[0] > 0


def test_searches_go_side_by_side():
    keys = jax.random.split(KEY, 3)
    together = jax.vmap(lambda key: fx.planning.cem(quadratic, START, key=key).mean)(keys)
    for key, found in zip(keys, together, strict=True):
        np.testing.assert_allclose(
            fx.planning.cem(quadratic, START, key=key).mean, found, rtol=1e-5
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "cem: num_samples"),
        ({"num_elites": 0}, "cem: num_elites"),
        ({"num_iterations": 0}, "cem: num_iterations"),
        ({"num_samples": 4, "num_elites": 5}, "cem: num_elites: wanted at most num_samples, 4"),
        ({"num_elite": 5}, "num_elite"),
        ({"low": 1.0, "high": -1.0}, "cem: low: wanted at most high"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(fx.HyperparameterError, match=message):
        fx.planning.cem(quadratic, START, key=KEY, **options)
