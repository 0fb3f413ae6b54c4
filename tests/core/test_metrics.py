"""NaN that was measured, and NaN of what did not happen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lerax_fx as fx
from lerax_fx._core.metrics import absent, is_absent, mean_over_time
from lerax_fx.stages.rollouts import EpisodeStatistics

KEY = jax.random.key(0)
AGENT = {"weight": jnp.ones(())}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_absent_is_a_nan_of_its_own(dtype):
    value = absent((2,), jnp.dtype(dtype))
    others = [jnp.nan, -jnp.nan, jnp.inf, 0.0, 1.0]
    others = jnp.array([*others, jnp.zeros(()) / 0.0, jnp.inf - jnp.inf], dtype)
    made = jax.jit(lambda x: jnp.stack([x - x, x / x, jnp.sqrt(-x), jnp.log(-x)]))
    assert jnp.isnan(value).all()
    assert is_absent(value).all()
    assert not is_absent(others).any()
    assert not is_absent(made(jnp.array([0.0, 1.0, jnp.inf], dtype))).any()


def test_means_leave_out_what_is_absent_and_nothing_else():
    random = np.random.default_rng(0)
    values = random.normal(size=(50, 4)).astype(np.float32)
    missing = random.random((50, 4)) < 0.5
    values[random.random((50, 4)) < 0.1] = np.nan
    given = jnp.where(missing, absent((50, 4), jnp.float32), values)
    batch = jax.jit(jax.vmap(mean_over_time, in_axes=1))({"loss": given.T})["loss"]
    for row, (value, gone) in enumerate(zip(values, missing, strict=True)):
        expected = np.mean(value[~gone]) if (~gone).any() else np.nan
        np.testing.assert_allclose(batch[row], expected, rtol=1e-5)
        assert bool(is_absent(batch[row])) == gone.all()
    assert jnp.isnan(batch).any()


class Measure(fx.Transform[jax.Array, jax.Array]):
    """Measures the mean of its data."""

    def init(self, agent, data, key):
        return ()

    def update(self, agent, state, data, key):
        return fx.Step(agent, state, data, {"loss": data.mean()})


def test_one_nan_loss_of_many_minibatches_shows():
    data = jnp.ones((4, 4)).at[1, 2].set(jnp.nan)
    for inner in (Measure(), fx.chain(measure=Measure())):
        stage = fx.minibatch(inner, num_epochs=2, num_minibatches=16)
        for outer in (stage, fx.repeat(2, stage)):
            state = outer.init(AGENT, lambda: data, KEY)
            metrics = outer.update(AGENT, state, data, KEY).metrics
            assert list(metrics) == ["measure/loss"]
            assert jnp.isnan(metrics["measure/loss"])


@pytest.mark.parametrize("vmapped", [False, True])
def test_skipped_updates_are_left_out(vmapped):
    stage = fx.repeat(4, fx.every(3, Measure()))

    def loss(data):
        state = stage.init(AGENT, lambda: data, KEY)
        return stage.update(AGENT, state, data, KEY).metrics["measure/loss"]

    data = jnp.array([[1.0, 3.0], [jnp.nan, 1.0]])
    losses = jax.jit(jax.vmap(loss))(data) if vmapped else [loss(row) for row in data]
    np.testing.assert_array_equal(losses, [2.0, np.nan])


def test_episodes_that_did_not_end_are_left_out():
    running = EpisodeStatistics.start().after(jnp.array(2.0), jnp.array(False))
    ended = running.after(jnp.array(3.0), jnp.array(True))
    metrics = [episodes.metrics() for episodes in (running, ended, running)]
    assert all(jnp.isnan(value) for value in metrics[0].values())
    mean = mean_over_time(jax.tree.map(lambda *values: jnp.stack(values), *metrics))
    assert mean == {"episode_return": 5.0, "episode_length": 2.0}
