import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lerax_fx.agents import RunningStatistics
from lerax_fx.envs import ENVIRONMENT_AXIS


def across(value):
    return RunningStatistics.across(value, ENVIRONMENT_AXIS)


batches = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 6), st.just(2)), elements=st.floats(-100, 100, width=32)
)


def close(statistics, data):
    np.testing.assert_array_equal(statistics.count, [len(data)] * 2)
    if len(data):
        np.testing.assert_allclose(statistics.mean, data.mean(0), rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(statistics.variance, data.var(0), rtol=1e-3, atol=1e-2)


@settings(max_examples=25, deadline=None)
@given(st.lists(batches, min_size=1, max_size=4))
def test_updates_give_mean_and_variance_of_all_batches(parts):
    statistics = RunningStatistics.start((2,))
    for part in parts:
        statistics = statistics.update(jnp.asarray(part))
    close(statistics, np.concatenate(parts).astype(np.float64))


@settings(max_examples=25, deadline=None)
@given(batches, batches)
def test_merge_is_commutative_and_has_a_neutral_element(one, two):
    a, b = RunningStatistics.of(jnp.asarray(one)), RunningStatistics.of(jnp.asarray(two))
    for left, right in zip(jax.tree.leaves(a.merge(b)), jax.tree.leaves(b.merge(a)), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-3)
    close(a.merge(RunningStatistics.start((2,))), one.astype(np.float64))
    close(RunningStatistics.start((2,)).merge(a), one.astype(np.float64))


def test_nothing_seen_normalises_to_the_same_and_nothing_divides_by_zero():
    value = jnp.asarray([3.0, -2.0])
    start = RunningStatistics.start((2,))
    np.testing.assert_array_equal(start.normalize(value), value)
    constant = start.update(jnp.tile(value, (5, 1)))
    np.testing.assert_array_equal(constant.normalize(value), [0.0, 0.0])
    gradient = jax.grad(lambda v: constant.normalize(v).sum())(value)
    assert bool(jnp.all(jnp.isfinite(gradient)))


def test_a_large_offset_does_not_swamp_the_variance():
    data = 1e4 + np.linspace(-1, 1, 1000, dtype=np.float32)[:, None]
    statistics = RunningStatistics.start((1,))
    for part in np.split(data, 20):
        statistics = statistics.update(jnp.asarray(part))
    np.testing.assert_allclose(statistics.variance, data.astype(np.float64).var(0), rtol=1e-2)


def test_past_the_largest_exact_count_it_goes_on_as_a_moving_average():
    full = RunningStatistics(jnp.asarray(2.0**24), jnp.zeros(()), jnp.ones(()))
    after = full.update(jnp.asarray([1e6]))
    assert float(after.count) == 2.0**24
    assert float(after.mean) > 0


def test_across_environments_is_one_value_alone_and_all_of_them_in_a_batch():
    alone = across(jnp.asarray([1.0, 2.0]))
    np.testing.assert_array_equal(alone.mean, [1.0, 2.0])
    np.testing.assert_array_equal(alone.count, [1, 1])
    values = jnp.asarray([[1.0], [2.0], [6.0]])
    shared = jax.vmap(across, axis_name=ENVIRONMENT_AXIS)(values)
    np.testing.assert_array_equal(shared.count, [[3.0]] * 3)
    np.testing.assert_allclose(shared.mean, np.full((3, 1), 3.0))
    np.testing.assert_allclose(shared.variance, np.full((3, 1), np.var([1, 2, 6])), rtol=1e-6)


wild = hnp.arrays(
    np.float32,
    (4, 2),
    elements=st.one_of(
        st.floats(-100, 100, width=32),
        st.sampled_from([np.inf, -np.inf, np.nan, np.float32(3e38)]),
    ),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(wild, min_size=1, max_size=3))
def test_what_is_not_finite_is_left_out_entry_by_entry(parts):
    batched, stepwise = RunningStatistics.start((2,)), RunningStatistics.start((2,))
    all_of_them = jax.vmap(across, axis_name=ENVIRONMENT_AXIS)
    for part in parts:
        batched = batched.update(jnp.asarray(part))
        shared = jax.tree.map(lambda x: x[0], all_of_them(jnp.asarray(part)))
        stepwise = stepwise.merge(shared)
    data = np.concatenate(parts).astype(np.float64)
    for statistics in (batched, stepwise):
        for entry in range(2):
            column = data[:, entry]
            known = column[np.abs(column) < 1e15]
            assert float(statistics.count[entry]) == len(known)
            if len(known):
                wanted = known.mean(), known.var()
                found = statistics.mean[entry], statistics.variance[entry]
                np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-2)


def test_after_an_infinite_value_normalising_goes_on():
    statistics = RunningStatistics.start(())
    for value in (1.0, float("inf"), 3.0, float("nan"), 1e30):
        statistics = statistics.merge(across(jnp.asarray(value)))
    np.testing.assert_allclose(statistics.normalize(jnp.asarray(4.0)), 2.0, rtol=1e-6)
    assert float(statistics.normalize(jnp.asarray(float("inf")))) == float("inf")
    gradient = jax.grad(lambda v: RunningStatistics.of(v).mean)(jnp.asarray([1.0, jnp.nan]))
    np.testing.assert_array_equal(gradient, [1.0, 0.0])
