"""Priorities against a plain list; what is drawn by them; how they are learned."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rlax
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from scipy import stats

import lerax_fx as fx
from lerax_fx._replay.buffer import RingBuffer
from lerax_fx._replay.sampling import SumTree

KEY = jax.random.key(0)
ROWS, ENVS, BATCH = 6, 2, 3
SGD = optax.sgd(1e-2)
SPACES = (fx.spaces.Box(-1.0, 1.0, (2,)), fx.spaces.Discrete(3))


def steps(first, number, num_envs=ENVS):
    """Steps `first`, `first + 1`, ... of each environment; a reward says whose, and which."""
    reward = jnp.arange(num_envs)[:, None] * 1000.0 + first + jnp.arange(number)
    flags = jnp.zeros(reward.shape, bool)
    return fx.data.Transitions(reward[..., None], reward.astype(int), reward, flags, flags, -reward)


def as_rollout(data):
    fields = {
        name: value for name, value in vars(data).items() if name not in ("weight", "priority")
    }
    nothing = jnp.zeros_like(data.reward)
    return fx.data.Rollout(**fields, log_prob=nothing, value=nothing, next_value=nothing)


# The tree.

set_numbers = jax.jit(SumTree.set)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 7, 8, 9, 64, 65, 80]), st.integers(0, 2**32 - 1))
def test_a_tree_is_an_array_with_its_sum(size, seed):
    rng = np.random.default_rng(seed)
    tree, numbers = SumTree.empty(size), np.zeros(size, np.float32)
    for _ in range(4):
        index = rng.integers(size, size=5)
        values = rng.random(size).astype(np.float32)[index]
        tree, numbers[index] = set_numbers(tree, index, values), values
    np.testing.assert_array_equal(tree.at(jnp.arange(size)), numbers)
    np.testing.assert_allclose(tree.total, numbers.sum(), rtol=1e-6)


@pytest.mark.quick("5", "1000")
@pytest.mark.parametrize("size", [5, 64, 1000])
def test_places_are_drawn_in_proportion(size):
    numbers = np.random.default_rng(0).random(size) ** 4
    numbers[::3] = 0.0
    tree = SumTree.empty(size).set(jnp.arange(size), jnp.asarray(numbers, jnp.float32))
    counts = np.bincount(np.asarray(tree.draw(KEY, 100_000)), minlength=size)
    assert counts[numbers == 0].sum() == 0
    likely = numbers / numbers.sum() * 100_000 >= 5
    observed = [*counts[likely], counts[~likely].sum()]
    expected = [*numbers[likely], numbers[~likely].sum()]
    if not expected[-1]:
        observed, expected = observed[:-1], expected[:-1]
    expected = np.asarray(expected) * 100_000 / np.sum(expected)
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.slow
def test_a_large_tree_tells_its_places_apart():
    """A single random float, of 24 bits, could not tell two million of them apart evenly."""
    size = 2**21
    tree = SumTree.empty(size).set(jnp.arange(size), jnp.ones(size))
    drawn = np.asarray(tree.draw(KEY, 200_000))
    assert stats.chisquare(np.bincount(drawn % 64, minlength=64)).pvalue > 1e-3
    assert stats.chisquare(np.bincount(drawn // (size // 64), minlength=64)).pvalue > 1e-3


# The sampling, on a ring.

SAMPLING = fx.prioritized(exponent=0.7, importance=0.5, epsilon=0.01)
ADD = -1
PROGRAMS = st.lists(
    st.one_of(st.just(ADD), st.just(ADD), st.integers(0, 2**30)), min_size=12, max_size=12
)


def priority_of(place, update):
    """Anything, so long as a place has one; sometimes none."""
    value = (7 * place + 3 * update) % 11
    return jnp.where(value == 0, jnp.nan, value / 3.0)


@functools.cache
def machine(number, length):
    """Runs a program: adds, and draws by seeds whose priorities are then learned. Gives for
    each command what was drawn, its rewards and priorities, and the state after it.
    """

    def one(carry, command):
        ring, state, written = carry
        longer = ring.add(steps(written, number))
        grown = SAMPLING.added(state, longer, number, length), longer, written + number
        first = SAMPLING.draw(state, ring, length, jax.random.key(command), (2, BATCH)).first
        priority = priority_of(first, jnp.arange(2)[:, None])
        able = ring.filled >= length
        taught = (
            SAMPLING.update_priorities(state, first, jnp.where(able, priority, jnp.nan)),
            ring,
            written,
        )
        after = jax.tree.map(lambda a, b: jnp.where(command == ADD, a, b), grown, taught)
        state, ring, written = after
        rewards = ring.take(ring.windows(first, length)).reward
        numbers = state.tree.at(jnp.arange(ROWS * ENVS)), state.tree.total, state.largest
        return (ring, state, written), (first, rewards, priority, *numbers)

    ring = RingBuffer.empty(steps(0, number), ROWS)
    start = ring, SAMPLING.init(ring), jnp.zeros((), jnp.int32)
    run = jax.jit(lambda program: jax.lax.scan(one, start, program)[1])
    return lambda program: zip(*map(np.asarray, run(jnp.asarray(program))), strict=True)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([(1, 1), (1, 3), (2, 4), (3, 2)]), PROGRAMS)
def test_priorities_are_a_list(sizes, program):
    number, length = sizes
    rows, largest, written = [], 1.0, 0  # the raised priorities of each row, oldest first
    for command, seen in zip(program, machine(*sizes)(program), strict=True):
        first, rewards, priority, tree, total, top = seen
        if command == ADD:
            written += number
            rows = (rows + [[0.0] * ENVS for _ in range(number)])[-ROWS:]
            for row in rows[: max(0, len(rows) - length + 1)]:
                row[:] = [p or largest**0.7 for p in row]
        elif len(rows) >= length:
            # Of one environment, one step after the other, all of them remembered.
            np.testing.assert_array_equal(np.diff(rewards), 1.0)
            assert (rewards % 1000 >= written - len(rows)).all()
            starts = rewards[..., 0].astype(int)
            np.testing.assert_array_equal(first, starts % 1000 % ROWS * ENVS + starts // 1000)
            for start, new in zip(starts.ravel(), priority.ravel(), strict=True):
                if not np.isnan(new):
                    rows[start % 1000 - written][start // 1000] = (new + 0.01) ** 0.7
                    largest = max(largest, new + 0.01)
        expected = np.zeros((ROWS, ENVS))
        for time, row in enumerate(rows, written - len(rows)):
            expected[time % ROWS] = row
        np.testing.assert_allclose(tree, expected.ravel(), rtol=1e-5)
        np.testing.assert_allclose(total, expected.sum(), rtol=1e-5)
        np.testing.assert_allclose(top, largest, rtol=1e-6)


add = jax.jit(RingBuffer.add)


@eqx.filter_jit
def added(sampling, state, ring, length):
    return sampling.added(state, ring, 1, length)


def stored(sampling, count, length):
    ring = RingBuffer.empty(steps(0, 1), ROWS)
    state = sampling.init(ring)
    for time in range(count):
        ring = add(ring, steps(time, 1))
        state = added(sampling, state, ring, length)
    return ring, state


@pytest.mark.quick("9-3-0.6")
@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(("count", "length"), [(4, 1), (9, 3)])
def test_windows_are_drawn_by_their_priorities_and_weighted(exponent, count, length):
    number, importance = 20_000, 0.4
    sampling = fx.prioritized(exponent=exponent, importance=importance, epsilon=0.1)
    ring, state = stored(sampling, count, length)
    starts = range(max(0, count - ROWS), count - length + 1)
    windows = np.asarray([(t % ROWS) * ENVS + env for env in range(ENVS) for t in starts])
    errors = np.random.default_rng(1).exponential(size=windows.size)
    state = sampling.update_priorities(state, jnp.asarray(windows)[None], jnp.asarray(errors)[None])
    drawn = sampling.draw(state, ring, length, KEY, (1, number))
    # Eq. 1, section 3.3 and section 3.4 in numpy.
    priority = errors + 0.1
    probability = priority**exponent / (priority**exponent).sum()
    weight = (windows.size * probability) ** -importance
    counts = [(np.asarray(drawn.first) == place).sum() for place in windows]
    assert sum(counts) == number
    assert stats.chisquare(counts, probability * number).pvalue > 1e-3
    of_place = dict(zip(windows, weight / weight.max(), strict=True))
    expected = [of_place[place] for place in np.asarray(drawn.first).ravel()]
    np.testing.assert_allclose(drawn.weight[0], expected, rtol=1e-4)


@pytest.mark.slow
def test_each_batch_has_its_own_largest_weight():
    ring, state = stored(SAMPLING, 6, 1)
    errors = jnp.arange(12.0)
    state = SAMPLING.update_priorities(state, jnp.arange(12)[None], errors[None])
    drawn = SAMPLING.draw(state, ring, 1, KEY, (4, 3))
    np.testing.assert_array_equal(drawn.weight.max(axis=-1), 1.0)
    assert float(drawn.weight.min()) < 0.9


def test_the_importance_may_follow_the_steps():
    schedule = optax.linear_schedule(0.0, 1.0, 12)
    for count, importance in [(3, 0.5), (6, 1.0)]:
        ring, state = stored(fx.prioritized(importance=schedule), count, 1)
        fixed = fx.prioritized(importance=importance)
        errors = jnp.linspace(0.1, 3.0, ENVS * count)
        state = fixed.update_priorities(state, jnp.arange(ENVS * count)[None], errors[None])
        draws = [
            s.draw(state, ring, 1, KEY, (1, 20))
            for s in (fixed, fx.prioritized(importance=schedule))
        ]
        np.testing.assert_array_equal(*(d.first for d in draws))
        np.testing.assert_allclose(*(d.weight for d in draws), rtol=1e-6)


def test_the_exponent_and_epsilon_may_follow_the_steps():
    """Priorities are raised with the values at the steps that are stored when they are set."""
    exponent, epsilon = optax.linear_schedule(0.2, 0.8, 12), optax.linear_schedule(0.1, 0.4, 12)
    places, errors = jnp.arange(12), jnp.linspace(0.1, 3.0, 12)
    scheduled = fx.prioritized(exponent=exponent, epsilon=epsilon)
    _, state = stored(scheduled, 6, 1)
    state = scheduled.update_priorities(state, places[None], errors[None])
    np.testing.assert_allclose(state.tree.at(places), (errors + 0.4) ** 0.8, rtol=1e-5)


def test_the_count_of_steps_stays_at_the_largest_number():
    ring, state = stored(SAMPLING, 3, 1)
    largest = np.iinfo(np.int32).max
    state = eqx.tree_at(lambda s: s.steps, state, jnp.asarray(largest - 1, jnp.int32))
    assert int(SAMPLING.added(state, ring, 1, 1).steps) == largest


# Within a replay.


class Learn(fx.Transform[fx.data.Transitions, fx.data.Transitions]):
    """Gives the windows that it gets a priority each, and keeps what it saw."""

    factor: float = 0.5

    def init(self, agent, data, key):
        return jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(self._seen, data())
        )

    def update(self, agent, state, data, key):
        out = dataclasses.replace(data, priority=data.reward[:, 0] * self.factor)
        return fx.Step(agent, self._seen(data), out)

    def _seen(self, data):
        return data.reward[:, 0], data.weight


def test_priorities_change_where_windows_were_drawn_and_only_there():
    stage = fx.replay(
        fx.chain(Learn()), capacity=ROWS * ENVS, batch_size=BATCH, length=2, sampling=SAMPLING
    )
    rollouts = [as_rollout(steps(time, 1)) for time in range(20)]
    state = stage.init(None, lambda: rollouts[0], KEY)
    update = jax.jit(lambda state, data, key: stage.update(None, state, data, key))
    largest = 1.0
    for time, data in enumerate(rollouts):
        before = state
        step = update(state, data, jax.random.key(time))
        state = step.state
        # What an add alone would have made of them.
        added_alone = SAMPLING.added(before.sampling, state.ring, 1, 2)
        expected = np.asarray(added_alone.tree.at(jnp.arange(ROWS * ENVS))).copy()
        if time >= 1:
            seen, weight = map(np.asarray, state.inner["learn"])
            places = (seen % 1000 % ROWS * ENVS + seen // 1000).astype(int)
            assert (expected[places] > 0).all()
            expected[places] = (0.5 * seen + 0.01) ** 0.7
            largest = max(largest, 0.5 * seen.max() + 0.01)
            assert weight.max() == 1.0
        found = np.asarray(state.sampling.tree.at(jnp.arange(ROWS * ENVS)))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        np.testing.assert_allclose(state.sampling.largest, largest, rtol=1e-6)
        assert not any("priority" in name for name in step.metrics)


class EverySecond(fx.Wrapper[fx.data.Transitions, fx.data.Transitions]):
    """In the other updates there is no priority."""

    def init(self, agent, data, key):
        return jnp.zeros((), int), self.inner.init(agent, data, key)

    def update(self, agent, state, data, key):
        count, inner = state
        step = self.inner.update(agent, inner, data, key)
        priority = jnp.where(count % 2 == 0, step.out.priority, jnp.nan)
        out = dataclasses.replace(step.out, priority=priority)
        return fx.Step(agent, (count + 1, step.state), out)


@fx.transform
def one_for_all(data: fx.data.Transitions) -> fx.data.Transitions:
    return dataclasses.replace(data, priority=data.reward.mean())


def test_an_update_that_is_left_out_leaves_priorities_as_they_were():
    stage = fx.replay(
        EverySecond(Learn()), capacity=ROWS * ENVS, batch_size=BATCH, sampling=SAMPLING
    )
    state = stage.init(None, lambda: as_rollout(steps(0, 1)), KEY)
    update = jax.jit(lambda state, data: stage.update(None, state, data, KEY).state)
    tops = []
    for time in range(6):
        state = update(state, as_rollout(steps(time, 1)))
        tops.append(float(state.sampling.largest))
        assert np.isfinite(state.sampling.tree.levels[0]).all()
    assert tops[0] == 1.0
    assert tops[-1] > 1.0


def learner(sampling, n=1, updates_per_step=1, inner=None):
    learn = inner or fx.chain(fx.td_target(n=n), fx.minimize(fx.q_loss(), SGD))
    return fx.chain(
        fx.rollout("CartPole-v1", num_envs=2, num_steps=2),
        fx.replay(
            learn,
            capacity=40,
            batch_size=4,
            warmup=8,
            updates_per_step=updates_per_step,
            length=n,
            sampling=sampling,
        ),
    )


@pytest.mark.slow
def test_runs_over_seeds_are_those_of_each_seed():
    n = 3  # with windows of one step, test_its_numbers_are_traced
    agent = fx.q_agent("CartPole-v1", key=KEY)
    train = fx.anakin_loop(learner(fx.prioritized(), n, updates_per_step=2), 8)
    keys = jax.random.split(KEY, 3)
    _, many = jax.vmap(train, in_axes=(None, 0))(agent, keys)
    _, last = train(agent, keys[2])
    for name, values in last.items():
        np.testing.assert_allclose(many[name][2], values, rtol=1e-4, err_msg=name)
    assert np.isfinite(last["minimize/loss"][-1])


@pytest.mark.slow
def test_its_numbers_are_traced():
    """A new exponent costs no compilation, and may be one of a batch."""
    agent = fx.q_agent("CartPole-v1", key=KEY)

    def loss(exponent):
        sampling = fx.prioritized(exponent=exponent, importance=0.5)
        return fx.anakin_loop(learner(sampling), 8)(agent, KEY)[1]["minimize/loss"][-1]

    losses = jax.vmap(loss)(jnp.asarray([0.1, 0.9]))
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], loss(0.9), rtol=1e-4)


# Losses.

AGENT = fx.q_agent(SPACES, key=KEY, widths=(8,))
WEIGHT = jnp.asarray([1.0, 0.25, 0.5, 0.0])


def batch(time):
    rng = np.random.default_rng(0)
    observation = jnp.asarray(rng.normal(size=(4, time, 2)), jnp.float32)
    action = jnp.asarray(rng.integers(3, size=(4, time)))
    return observation, action, jnp.asarray(rng.normal(size=(4, time)), jnp.float32)


def mixed(errors):
    return 0.9 * errors.max(-1) + 0.1 * errors.mean(-1)


@pytest.mark.quick("0.3-3")
@pytest.mark.parametrize("time", [1, 3])
@pytest.mark.parametrize("huber", [None, 0.3])
def test_q_loss_weighs_windows_and_reports_their_errors(time, huber):
    observation, action, target = batch(time)
    values = np.asarray(
        jax.vmap(jax.vmap(lambda x: AGENT.step(None, x, KEY)[1].q_values))(observation)
    )
    taken = np.take_along_axis(values, np.asarray(action)[..., None], -1)[..., 0]
    errors = np.abs(taken - np.asarray(target))
    losses = 0.5 * errors**2
    if huber:
        losses = np.where(errors <= huber, losses, huber * (errors - 0.5 * huber))
    data = fx.data.Targets(observation, action, target, WEIGHT)
    output = fx.q_loss(huber=huber).evaluate(AGENT, data, KEY)
    np.testing.assert_allclose(output.loss, (losses * WEIGHT[:, None]).mean(), rtol=1e-5)
    np.testing.assert_allclose(output.priority, mixed(errors), rtol=1e-5)
    unweighted = fx.data.Targets(observation, action, target)
    assert fx.q_loss().evaluate(AGENT, unweighted, KEY).priority is None


@pytest.mark.quick("quantile-1")
@pytest.mark.parametrize("time", [1, 3])
@pytest.mark.parametrize("kind", ["categorical", "quantile"])
def test_distributional_losses_weigh_windows_and_report_their_errors(kind, time):
    observation, action, _ = batch(time)
    rng = np.random.default_rng(2)
    atoms = jnp.asarray(rng.normal(size=(4, time, 5)), jnp.float32)
    probabilities = jax.nn.softmax(jnp.asarray(rng.normal(size=(4, time, 5)), jnp.float32))
    if kind == "categorical":
        agent = fx.categorical_q_agent(SPACES, key=KEY, num_atoms=5, widths=(8,))
        loss = fx.c51_loss()
    else:
        agent = fx.quantile_q_agent(SPACES, key=KEY, num_quantiles=5, widths=(8,))
        loss = fx.quantile_regression_loss()
    losses, errors = np.zeros((4, time)), np.zeros((4, time))
    for b in range(4):
        for t in range(time):
            returns = agent.step(None, observation[b, t], KEY)[1].return_distribution
            own = jax.tree.map(lambda x, a=action[b, t]: x[a], returns)
            if kind == "categorical":
                wanted = np.asarray(
                    rlax.categorical_l2_project(atoms[b, t], probabilities[b, t], own.atoms)
                )
                losses[b, t] = -(wanted * np.log(own.probabilities)).sum()
                errors[b, t] = stats.entropy(wanted, own.probabilities)
            else:
                losses[b, t] = errors[b, t] = rlax.quantile_regression_loss(
                    own.quantiles, own.fractions, atoms[b, t], huber_param=1.0
                )
    data = fx.data.DistributionTargets(observation, action, atoms, probabilities, WEIGHT)
    output = loss.evaluate(agent, data, KEY)
    np.testing.assert_allclose(output.loss, (losses * WEIGHT[:, None]).mean(), rtol=1e-4)
    np.testing.assert_allclose(output.priority, mixed(errors), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_chain_learns_the_errors_of_the_windows_it_was_given():
    """From the weights through target and loss back to the tree, against each piece alone."""
    agent = fx.q_agent("CartPole-v1", key=KEY)
    collect, stage = learner(fx.prioritized(), n=2).stages
    rollout = jax.jit(
        lambda key: collect.update(agent, collect.init(agent, lambda: None, key), None, key).out
    )(KEY)
    state = stage.init(agent, lambda: rollout, KEY)
    update = jax.jit(lambda state, key: stage.update(agent, state, rollout, key).state)
    for time in range(3):
        key = jax.random.key(time)
        before = state
        state = update(before, key)
    sampling = stage.sampling.added(before.sampling, state.ring, 2, 2)
    drawn = stage.sampling.draw(sampling, state.ring, 2, jax.random.split(key)[0], (1, 4))
    data = state.ring.take(state.ring.windows(drawn.first[0], 2))
    target = fx.td_target(n=2)
    targets = target.update(agent, target.init(agent, lambda: None, KEY), data, KEY).out
    step = jax.vmap(jax.vmap(lambda seen: agent.step(None, seen, KEY)[1].q_values))
    values = step(targets.observation)
    taken = np.take_along_axis(np.asarray(values), np.asarray(targets.action)[..., None], -1)
    errors = np.abs(taken[..., 0] - targets.target)[:, 0]
    found = state.sampling.tree.at(drawn.first[0])
    np.testing.assert_allclose(found, (errors + 1e-6) ** 0.6, rtol=1e-4)


# Errors.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exponent": 1.5}, r"prioritized: exponent: wanted a number in \[0, 1\], got 1.5"),
        ({"exponent": -0.1}, "prioritized: exponent"),
        ({"importance": 2.0}, "prioritized: importance"),
        ({"epsilon": 0.0}, "prioritized: epsilon: wanted a finite number > 0"),
        ({"epsilon": float("inf")}, "prioritized: epsilon: wanted a finite number > 0"),
        ({"alpha": 0.5}, "prioritized: alpha"),
    ],
)
def test_bad_numbers_are_refused(options, message):
    with pytest.raises(fx.HyperparameterError, match=message):
        fx.prioritized(**options)


def test_what_is_no_sampling_is_refused():
    with pytest.raises((fx.WiringError, TypeError), match="sampling"):
        fx.replay(fx.identity(), capacity=4, batch_size=2, sampling=fx.prioritized)


@pytest.mark.parametrize(
    ("inner", "got"),
    [
        (fx.td_target(), "got a Targets with none"),
        (fx.every(2, Learn()), "got a Transitions with none"),
    ],
)
def test_an_inner_without_priorities_is_refused_before_compiling(inner, got):
    agent = fx.q_agent("CartPole-v1", key=KEY)
    train = fx.anakin_loop(learner(fx.prioritized(), inner=inner), 2)
    with pytest.raises(fx.WiringError, match=r"replay: sampling: wanted.*`priority`.*" + got):
        train(agent, KEY)


def test_a_priority_of_another_shape_is_refused():
    """By the type checks where they are on, as here; else by the replay."""
    agent = fx.q_agent("CartPole-v1", key=KEY)
    train = fx.anakin_loop(learner(fx.prioritized(), inner=one_for_all()), 2)
    with pytest.raises(
        (fx.WiringError, TypeCheckError), match=r"priority[^$]*(shape \(\)|f32\[\])"
    ):
        train(agent, KEY)


def test_describe_shows_how_windows_are_drawn(capsys):
    fx.describe(learner(fx.prioritized(exponent=0.7)), fx.q_agent("CartPole-v1", key=KEY))
    assert "sampling=Prioritized(exponent=0.7 importance=0.4" in capsys.readouterr().out


def test_a_priority_below_zero_counts_as_zero():
    ring = RingBuffer.empty(steps(0, 1), ROWS).add(steps(0, 1))
    state = SAMPLING.added(SAMPLING.init(ring), ring, 1, 1)
    first = SAMPLING.draw(state, ring, 1, KEY, (1, BATCH)).first
    taught = SAMPLING.update_priorities(state, first, jnp.full((1, BATCH), -1.0))
    np.testing.assert_allclose(taught.tree.at(first), 0.01**0.7, rtol=1e-5)


@pytest.mark.slow
def test_gradients_reach_the_exponent():
    def loss(exponent):
        train = fx.anakin_loop(learner(fx.prioritized(exponent=exponent)), 8)
        agent = fx.q_agent("CartPole-v1", key=KEY, widths=(4,))
        values = train(agent, KEY)[1]
        return next(v for k, v in values.items() if k.endswith("/loss"))[-1]

    assert np.isfinite(jax.grad(loss)(0.5))
