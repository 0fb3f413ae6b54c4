"""The ring against a plain list; what is drawn from it; when the inner transform runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import lerax_fx as fx
from lerax_fx._replay.buffer import RingBuffer

KEY = jax.random.key(0)
ROWS, ENVS = 6, 2
SGD = optax.sgd(1e-2)


def steps(first, number, num_envs=ENVS):
    """Steps `first`, `first + 1`, ... of each environment; a reward says whose, and which."""
    reward = jnp.arange(num_envs)[:, None] * 1000.0 + first + jnp.arange(number)
    flags = jnp.zeros(reward.shape, bool)
    return fx.data.Transitions(reward[..., None], reward.astype(int), reward, flags, flags, -reward)


add = jax.jit(RingBuffer.add)


@functools.partial(jax.jit, static_argnums=(2, 3))
def drawn(ring, key, length, number):
    """The rewards of windows."""
    first = ring.starts(jax.random.bits(key, (number,)), length)
    return ring.take(ring.windows(first, length)).reward


def filled(count):
    ring = RingBuffer.empty(steps(0, 1), ROWS)
    for first in range(count):
        ring = add(ring, steps(first, 1))
    return ring


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([1, 2, 3]), st.integers(1, 12), st.integers(0, 2**31), st.integers(1, 3))
def test_a_ring_is_a_list_of_the_last_steps(number, times, seed, length):
    ring, stored = RingBuffer.empty(steps(0, number), ROWS), []
    for time in range(times):
        ring = add(ring, steps(time * number, number))
        stored += range(time * number, (time + 1) * number)
    stored = stored[-ROWS:]
    assert int(ring.filled) == len(stored)
    if len(stored) < length:
        return
    rewards = np.asarray(drawn(ring, jax.random.key(seed), length, 32))
    assert rewards.shape == (32, length)
    # One environment, one step after the other, all of them remembered.
    np.testing.assert_array_equal(np.diff(rewards), 1.0)
    assert set(rewards.ravel() % 1000) <= set(stored)


def test_all_fields_stay_together():
    ring = filled(9)
    taken = ring.take(ring.windows(ring.starts(jax.random.bits(KEY, (64,)), 2), 2))
    np.testing.assert_array_equal(taken.observation[..., 0], taken.reward)
    np.testing.assert_array_equal(taken.action, taken.reward)
    np.testing.assert_array_equal(taken.next_observation, -taken.reward)


@pytest.mark.quick("3-9")
@pytest.mark.parametrize("count", [4, 9])
@pytest.mark.parametrize("length", [1, 3])
def test_windows_are_drawn_uniformly(count, length):
    ring, number = filled(count), 20_000
    rewards = np.asarray(drawn(ring, KEY, length, number)[:, 0])
    starts = range(max(0, count - ROWS), count - length + 1)
    expected = [env * 1000 + start for env in range(ENVS) for start in starts]
    values, counts = np.unique(rewards, return_counts=True)
    np.testing.assert_array_equal(values, expected)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_ring_counts_no_further_than_its_rows():
    """So that nothing overflows, however long a run is."""
    seen = [(int(ring.position), int(ring.filled)) for ring in map(filled, (3, 6, 31))]
    assert seen == [(3, 3), (0, ROWS), (1, ROWS)]


def test_a_ring_can_be_donated():
    ring = RingBuffer.empty(steps(0, 1), ROWS)
    ring = jax.jit(RingBuffer.add, donate_argnums=0)(ring, steps(0, 1))
    assert int(ring.filled) == 1


def learner(**options):
    settings = {"capacity": 40, "batch_size": 4, "warmup": 8, **options}
    inner = fx.chain(fx.td_target(n=settings.get("length", 1)), fx.minimize(fx.q_loss(), SGD))
    return fx.chain(
        fx.rollout("CartPole-v1", num_envs=2, num_steps=2), fx.replay(inner, **settings)
    )


def test_nothing_is_learned_before_the_warmup():
    agent = fx.q_agent("CartPole-v1", key=KEY)
    train = fx.anakin_loop(learner(), 3)
    state, seen = train.init(agent, KEY), []
    for _ in range(3):
        before, (state, metrics) = state.agent, train.step(state)
        same = all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(state.agent)))
        seen.append((same, bool(np.isnan(metrics["minimize/loss"][0]))))
    assert seen == [(True, True), (False, False), (False, False)]


def test_several_updates_are_one_after_another():
    counted = []

    class Count(fx.Transform[fx.data.Transitions, fx.data.Transitions]):
        def init(self, agent, data, key):
            return jnp.zeros((), int)

        def update(self, agent, state, data, key):
            counted.append(data.reward.shape)
            return fx.Step(agent, state + 1, data, {"first": data.reward[0, 0]})

    agent = fx.q_agent("CartPole-v1", key=KEY)
    stage = fx.replay(Count(), capacity=40, batch_size=4, updates_per_step=3)
    train = fx.anakin_loop(fx.chain(fx.rollout("CartPole-v1", num_envs=2, num_steps=2), stage), 2)
    state, _ = train.step(train.init(agent, KEY), 2)
    assert int(jax.tree.leaves(state.algorithm["replay"].inner)[0]) == 6
    assert set(counted) == {(4, 1)}


@pytest.mark.slow
def test_a_run_with_a_ring_is_the_same_in_pieces_and_over_seeds():
    agent = fx.q_agent("CartPole-v1", key=KEY)
    train = fx.anakin_loop(learner(length=2), 6)
    whole, metrics = train(agent, KEY)
    state = train.init(agent, KEY)
    for _ in range(2):
        state, _ = train.step(state, 3, donate=True)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(state.agent), strict=True):
        np.testing.assert_array_equal(one, other)
    keys = jax.random.split(KEY, 3)
    _, many = jax.vmap(train, in_axes=(None, 0))(agent, keys)
    _, last = train(agent, keys[2])
    for name, values in last.items():
        np.testing.assert_allclose(many[name][2], values, rtol=1e-4, err_msg=name)
    assert np.isfinite(metrics["minimize/loss"][-1])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda stage: fx.repeat(2, stage),
        lambda stage: fx.every(2, stage),
        lambda stage: fx.minibatch(fx.chain(stage), num_epochs=1, num_minibatches=2),
        lambda stage: fx.minibatch(stage, num_epochs=1, num_minibatches=1, whole_trajectories=True),
        lambda stage: fx.replay(fx.chain(stage), capacity=8, batch_size=4),
    ],
)
def test_a_ring_takes_steps_in_the_order_in_which_they_were_taken(wrap):
    agent = fx.q_agent("CartPole-v1", key=KEY)
    collect, stage = learner().stages
    message = r"replay: wanted.*order in which it comes|wanted whole traj|wanted Rollout, got Trans"
    with pytest.raises(fx.WiringError, match=message):
        fx.anakin_loop(fx.chain(collect, wrap(stage)), 1)(agent, KEY)


@pytest.mark.slow
def test_a_ring_may_stand_within_chains():
    agent = fx.q_agent("CartPole-v1", key=KEY)
    collect, stage = learner().stages
    flat = fx.anakin_loop(fx.chain(collect, stage), 3)(agent, KEY)
    nested = fx.anakin_loop(fx.chain(collect, fx.chain(fx.identity(), fx.chain(stage))), 3)
    for one, other in zip(jax.tree.leaves(flat), jax.tree.leaves(nested(agent, KEY)), strict=True):
        np.testing.assert_array_equal(one, other)


@fx.transform
def spy(transitions: fx.data.Transitions) -> fx.data.Transitions:
    jax.debug.callback(lambda x: SEEN.append(np.asarray(x)), transitions.observation, ordered=True)
    return transitions


SEEN = []


@pytest.mark.slow
def test_a_whole_window_is_there_before_anything_is_learned():
    """And all windows of all updates are drawn anew."""
    SEEN.clear()
    agent = fx.q_agent("CartPole-v1", key=KEY)
    stage = fx.replay(spy(), capacity=400, batch_size=4, length=3, updates_per_step=2)
    collect = fx.rollout("CartPole-v1", num_envs=4, num_steps=1)
    fx.anakin_loop(fx.chain(collect, stage), 6)(agent, KEY)
    jax.effects_barrier()
    assert len(SEEN) == 2 * (6 - 2)
    assert all((window != 0).any(-1).all() for window in SEEN)
    late = SEEN[2:]
    assert len({window.tobytes() for window in late}) == len(late)


def test_transitions_are_the_steps_of_the_rollout():
    agent = fx.q_agent("CartPole-v1", key=KEY)
    collect = fx.rollout(fx.envs.TimeLimit("CartPole-v1", 7), num_envs=2, num_steps=10)
    rollout = jax.jit(collect.update)(agent, collect.init(agent, lambda: None, KEY), None, KEY).out
    assert bool(rollout.truncated.any())
    transitions = fx.data.Transitions.of(rollout)
    assert transitions.weight is None
    assert transitions.priority is None
    for name in vars(transitions).keys() - {"weight", "priority"}:
        np.testing.assert_array_equal(getattr(transitions, name), getattr(rollout, name))


def test_what_stands_within_takes_what_is_stored():
    collect = fx.rollout("CartPole-v1", num_envs=2, num_steps=4)
    learn = fx.minimize(fx.q_loss(), optax.sgd(0.1))
    with pytest.raises(fx.WiringError, match=r"'replay': wanted Targets, got Rollout"):
        fx.chain(collect, fx.replay(learn, capacity=8, batch_size=4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": 41}, "replay: warmup: wanted at most the capacity, 40, got 41"),
        ({"batch_size": 9}, "replay: batch_size: wanted at most the warmup, 8, got 9"),
        ({"batch_size": 50, "warmup": None}, "replay: batch_size: wanted at most the capacity"),
        ({"batch_size": 0}, "replay: batch_size"),
        ({"updates_per_step": 0}, "replay: updates_per_step"),
        ({"length": -1}, "replay: length"),
        ({"capacity": 0}, "replay: capacity"),
    ],
)
def test_bad_sizes_are_refused(options, message):
    sizes = {"capacity": 40, "batch_size": 4, "warmup": 8, **options}
    with pytest.raises(fx.HyperparameterError, match=message):
        fx.replay(fx.identity(), **sizes)


def test_a_capacity_below_one_rollout_is_refused_before_compiling():
    agent = fx.q_agent("CartPole-v1", key=KEY)
    train = fx.anakin_loop(learner(capacity=3, batch_size=1, warmup=1), 1)
    with pytest.raises(fx.HyperparameterError, match="replay: capacity: wanted room for a rollout"):
        train(agent, KEY)


def test_without_data_there_is_no_ring():
    agent = fx.q_agent("CartPole-v1", key=KEY)
    train = fx.anakin_loop(fx.replay(fx.identity(), capacity=4, batch_size=2), 1)
    with pytest.raises(fx.WiringError, match=r"replay: data: wanted data whose arrays"):
        train(agent, KEY)
