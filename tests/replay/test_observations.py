"""Observations kept once against those stored twice, and against a plain list."""

import dataclasses
import functools
import operator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import lerax_fx as fx
from lerax_fx._replay.buffer import ObservationBuffer, RingBuffer

KEY = jax.random.key(0)
ENVS, BATCH, UPDATES = 2, 3, 5
# Rows, steps of a rollout, steps of a window, observations of each environment.
SIZES = [(6, 1, 1, 7), (6, 1, 3, 8), (6, 2, 3, 9), (6, 3, 1, 7), (6, 1, 2, 12), (9, 3, 4, 12)]
MEMORY_SIZES = [(6, 1, 1, 7), (6, 2, 3, 9), (9, 3, 4, 14)]


def trajectory(rng, number, ends):
    """Steps `(ENVS, number)` as environments give them, and what breaks off between them."""
    flags = rng.random((2, ENVS, number)) < ends
    terminated, truncated = flags[0], flags[1] & ~flags[0]
    # Anything may come between: an end, or a reset that nobody tells of.
    breaks = terminated | truncated | (rng.random((ENVS, number)) < 0.05)
    # Few different ones: what follows an end may by chance be what the end looked like.
    fresh = rng.integers(4, size=(ENVS, number + 1, 2)).astype(np.float32)
    following = rng.integers(4, size=(ENVS, number, 2)).astype(np.float32)
    seen = np.where(breaks[..., None], fresh[:, 1:], following)
    seen = np.concatenate([fresh[:, :1], seen[:, :-1]], axis=1)
    reward = np.arange(ENVS)[:, None] * 1000.0 + np.arange(number)
    # An observation may be a tree.
    seen, following = ({"a": x, "b": x[..., 0] > 1} for x in (seen, following))
    numbers = reward.astype(np.int32), reward.astype(np.float32)
    fields = seen, *numbers, terminated, truncated, following
    return fx.data.Transitions(*jax.tree.map(jnp.asarray, fields))


def with_memory(data, number):
    memory = data.reward[:, ::number]
    return eqx.tree_at(lambda d: d.memory, data, memory, is_leaf=lambda x: x is None)


@functools.cache
def machine(sizes, sampling, remembers):
    """Adds rollout after rollout, to a ring of either kind; gives both, what the sampling knows
    and what was drawn after each.
    """
    rows, number, length, size = sizes

    def one(carry, xs):
        (plain, ring, state), (data, key) = carry, xs
        plain, ring = plain.add(data), ring.add(data)
        state = sampling.added(state, ring, number, length)
        first = sampling.draw(
            state, ring, length, sampling.draw_ahead(key, (1, BATCH)), (1, BATCH)
        ).first[0]
        places = ring.windows(first, length)
        drawn = plain.take(places), ring.take(places)
        if remembers:
            drawn += tuple(r.sample(first, length).memory for r in (plain, ring))
        # As an update would: what was drawn has a new priority, if anything could be.
        priority = jnp.where(ring.stored >= length, 3.0 * first, jnp.nan)
        state = sampling.update_priorities(state, first[None], priority[None])
        knows = getattr(state, "tree", None)
        numbers = knows and knows.at(jnp.arange(rows * ENVS))
        return (plain, ring, state), (ring.kept, ring.filled, first, *drawn[:2], drawn[2:], numbers)

    @jax.jit
    def run(data, keys):
        like = jax.tree.map(lambda x: x[0], data)
        ring = RingBuffer.empty(like, rows, size)
        return jax.lax.scan(
            one, (RingBuffer.empty(like, rows), ring, sampling.init(ring)), (data, keys)
        )[1]

    return run


def occupied(data, env, first, last):
    """How many observations steps `first` to `last` have, one after another."""
    seen, following = (
        [np.asarray(x[k][env]) for k in "ab"] for x in (data.observation, data.next_observation)
    )
    again = sum(
        any((s[t] != f[t - 1]).any() for s, f in zip(seen, following, strict=True))
        for t in range(first + 1, last + 1)
    )
    return last - first + 2 + again


def remembered_rows(data, time, sizes, before):
    """By a list: as many of the newest steps as there is room for, in each environment."""
    rows, number, _, size = sizes
    steps = min(before + number, rows)
    while any(occupied(data, env, time - steps, time - 1) > size for env in range(ENVS)):
        steps -= 1
    return steps


UNIFORM, PRIORITIZED = fx.uniform(), fx.prioritized(exponent=0.7)


SAMPLING = UNIFORM, PRIORITIZED
ENDS = st.sampled_from([0.0, 0.1, 0.5, 1.0])
SEEDS = st.integers(0, 2**32 - 1)
# Each is a program: here each size with one way to sample, in slow tests with both.
CASES = [(sizes, SAMPLING[i % 2]) for i, sizes in enumerate(SIZES)]
MEMORY_CASES = [(sizes, SAMPLING[i % 2]) for i, sizes in enumerate(MEMORY_SIZES)]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(CASES), ENDS, SEEDS)
def test_what_is_looked_up_is_what_was_stored(case, ends, seed):
    check_program(*case, ends, seed, remembers=False)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.sampled_from(MEMORY_CASES), ENDS, SEEDS)
def test_what_is_looked_up_is_what_was_stored_for_agents_with_memory(case, ends, seed):
    check_program(*case, ends, seed, remembers=True)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SIZES), st.sampled_from(SAMPLING), ENDS, SEEDS)
def test_what_is_looked_up_is_what_was_stored_with_all(sizes, sampling, ends, seed):
    check_program(sizes, sampling, ends, seed, remembers=False)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.sampled_from(MEMORY_SIZES), st.sampled_from(SAMPLING), ENDS, SEEDS)
def test_what_is_looked_up_is_what_was_stored_with_memory_and_all(sizes, sampling, ends, seed):
    check_program(sizes, sampling, ends, seed, remembers=True)


def check_program(sizes, sampling, ends, seed, remembers):
    rows, number, length, _ = sizes
    times = 12
    whole = trajectory(np.random.default_rng(seed), times * number, ends)
    data = whole if not remembers else with_memory(whole, number)

    def split(x):
        return jnp.asarray(x.reshape(ENVS, times, -1, *x.shape[2:]).swapaxes(0, 1))

    rollouts = jax.tree.map(split, whole)
    if remembers:
        rollouts = dataclasses.replace(rollouts, memory=jnp.asarray(data.memory.T[..., None]))
    keys = jax.random.split(jax.random.key(seed), times)
    seen = jax.tree.map(np.asarray, machine(sizes, sampling, remembers)(rollouts, keys))
    kept = 0
    for time in range(times):
        now = jax.tree.map(operator.itemgetter(time), seen)
        kept_now, filled, first, plain, ring, memories, tree = now
        written = (time + 1) * number
        kept = remembered_rows(whole, written, sizes, kept)
        if remembers:
            kept = kept // number * number
        assert (kept_now, filled) == (kept, min(written, rows))
        starts = list(range(written - kept, written - length + 1))
        if remembers:
            starts = [t for t in starts if t % number == 0]
        places = {t % rows * ENVS + env: (t, env) for t in starts for env in range(ENVS)}
        if tree is not None:
            np.testing.assert_array_equal(np.flatnonzero(tree), sorted(places))
        if not starts:
            continue
        assert set(first) <= set(places)
        jax.tree.map(np.testing.assert_array_equal, plain, ring)
        for window, place in zip(ring.reward, first, strict=True):
            start, env = places[place]
            np.testing.assert_array_equal(window, env * 1000.0 + start + np.arange(length))
        if remembers:
            np.testing.assert_array_equal(*memories)
            np.testing.assert_array_equal(memories[1][:, 0], ring.reward[:, 0])


@pytest.mark.quick("sampling0")
@pytest.mark.parametrize("sampling", [UNIFORM, PRIORITIZED])
def test_windows_of_what_is_remembered_are_drawn_uniformly(sampling):
    """Whatever was forgotten: a step of each environment is as likely as any other."""
    rows, length, number = 12, 2, 20_000
    data = trajectory(np.random.default_rng(0), 40, 0.3)
    pieces = [jax.tree.map(lambda x, t=t: jnp.asarray(x[:, t : t + 1]), data) for t in range(40)]
    ring = RingBuffer.empty(pieces[0], rows, 14)
    state = sampling.init(ring)

    @jax.jit
    def add(ring, state, piece):
        ring = ring.add(piece)
        return ring, sampling.added(state, ring, 1, length)

    for piece in pieces:
        ring, state = add(ring, state, piece)
    kept = int(ring.kept)
    assert length < kept < rows
    first = sampling.draw(
        state, ring, length, sampling.draw_ahead(KEY, (1, number)), (1, number)
    ).first[0]
    values, counts = np.unique(ring.take(first).reward, return_counts=True)
    starts = range(40 - kept, 40 - length + 1)
    np.testing.assert_array_equal(values, [env * 1000 + t for env in range(ENVS) for t in starts])
    assert stats.chisquare(counts).pvalue > 1e-3


def size_of(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def test_images_take_half_the_memory():
    """Those of MinAtar, floats as they come."""
    image, number = jnp.zeros((10, 1, 10, 10, 4)), jnp.zeros((10, 1))
    data = fx.data.Transitions(image, number, number, number > 0, number > 0, image)
    twice, once = (size_of(RingBuffer.empty(data, 100, kept)) for kept in (None, 110))
    assert 0.5 < once / twice < 0.56


@pytest.mark.slow
def test_a_number_that_is_none_costs_room_alone():
    observations = ObservationBuffer.empty(jnp.zeros((1, 1)), 1, 6)
    nan = jnp.full((1, 1), jnp.nan)
    flags = jnp.zeros((1, 1), bool)
    for _ in range(2):
        observations, slots = observations.add(
            fx.data.Transitions(nan, nan, nan, flags, flags, nan)
        )
    assert np.isnan(observations.at(jnp.zeros(1, int), slots[:, 0])).all()
    assert slots[0, 0] == 3  # of 0, 1, 2, ...: behind what the first step saw and led to


# Within a replay.


def learner(num_steps=2, sampling=None, **options):
    n = options.get("length", 1)
    learn = fx.chain(
        fx.td_target(n=n, double=True, update=fx.periodic(3)),
        fx.minimize(fx.q_loss(), optax.adam(1e-2)),
    )
    stage = fx.replay(
        learn, **{"capacity": 400, "batch_size": 8, "warmup": 20, "sampling": sampling, **options}
    )
    env = fx.envs.TimeLimit("CartPole-v1", 13)
    explore = fx.epsilon_greedy(0.3)
    return fx.chain(fx.rollout(env, num_envs=2, num_steps=num_steps, explore=explore), stage)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "options"),
    [
        pytest.param(fx.q_agent, {}, marks=pytest.mark.slow),
        (fx.q_agent, {"length": 3, "updates_per_step": 2, "sampling": fx.prioritized()}),
        pytest.param(fx.q_agent, {"num_steps": 1, "updates_per_step": 2}, marks=pytest.mark.slow),
        (fx.agents.gru_q_agent, {"length": 4, "sampling": fx.prioritized()}),
    ],
)
def test_training_is_the_same_bit_by_bit(agent, options):
    """Over hundreds of ends, of both kinds, and several times around the ring."""
    agent = agent("CartPole-v1", key=KEY)
    runs = [
        fx.anakin_loop(learner(observations=observations, **options), 600)(agent, KEY)
        for observations in (None, 500)
    ]
    (stored, metrics), (looked_up, more) = runs
    jax.tree.map(np.testing.assert_array_equal, stored, looked_up)
    assert np.isfinite(metrics["minimize/loss"][-1])
    for name, values in metrics.items():
        np.testing.assert_array_equal(values, more[name], err_msg=name)
    assert more.keys() - metrics.keys() == {"replay/stored"}
    assert more["replay/stored"].max() == 400


@pytest.mark.slow
def test_what_is_forgotten_is_counted_and_learning_goes_on():
    """A warmup counts the steps that came, not those that are left."""
    agent = fx.q_agent("CartPole-v1", key=KEY)
    algorithm = learner(observations=402, warmup=400)
    _, metrics = fx.anakin_loop(algorithm, 300)(agent, KEY)
    stored = np.asarray(metrics["replay/stored"])
    assert (stored[200:] < 400).all()
    assert (stored[200:] > 340).all()
    np.testing.assert_array_equal(np.isfinite(metrics["minimize/loss"]), np.arange(300) >= 99)


@pytest.mark.slow
def test_it_runs_over_seeds_and_in_pieces():
    agent = fx.q_agent("CartPole-v1", key=KEY)
    train = fx.anakin_loop(learner(observations=84, capacity=80, sampling=PRIORITIZED), 90)
    whole, _ = train(agent, KEY)
    state = train.init(agent, KEY)
    for _ in range(3):
        state, _ = train.step(state, 30, donate=True)
    jax.tree.map(np.testing.assert_array_equal, whole, state.agent)
    keys = jax.random.split(KEY, 2)
    _, many = jax.vmap(train, in_axes=(None, 0))(agent, keys)
    _, last = train(agent, keys[1])
    np.testing.assert_array_equal(many["replay/stored"][1], last["replay/stored"])
    assert last["replay/stored"].min() < last["replay/stored"].max() <= 80


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        (400, r"replay: observations: wanted more than the capacity, 400.*got 400.*instance 441"),
        (True, "replay: observations: wanted an int"),
        (0, "replay: observations: wanted an int"),
    ],
)
def test_bad_numbers_are_refused(observations, message):
    with pytest.raises(fx.HyperparameterError, match=message):
        learner(observations=observations)


def test_too_few_for_a_window_are_refused_before_compiling():
    agent = fx.q_agent("CartPole-v1", key=KEY)
    algorithm = learner(capacity=12, batch_size=2, warmup=2, length=5, observations=20)
    message = r"replay: observations: wanted at least 24, .*windows of 5.*got 20"
    with pytest.raises(fx.HyperparameterError, match=message):
        fx.anakin_loop(algorithm, 1)(agent, KEY)


def test_next_observations_of_another_kind_are_refused():
    @fx.transform
    def coarser(rollout: fx.data.Rollout) -> fx.data.Rollout:
        return dataclasses.replace(
            rollout, next_observation=rollout.next_observation.astype(jnp.float16)
        )

    collect, stage = learner(observations=500).stages
    with pytest.raises(fx.WiringError, match=r"replay: observations: wanted next.*float16"):
        fx.anakin_loop(fx.chain(collect, coarser(), stage), 1)(
            fx.q_agent("CartPole-v1", key=KEY), KEY
        )
