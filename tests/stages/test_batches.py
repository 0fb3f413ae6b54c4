"""Data of several updates, datasets, replay of any data, a lagged behaviour policy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx

KEY = jax.random.key(0)
AGENT = {"weight": jnp.zeros(2)}
NUM_ENVS, NUM_STEPS = 2, 3


class Counted(eqx.Module):
    """A user's own data: the time of each step, and a hidden state before the first."""

    time: jax.Array
    memory: jax.Array


class Count(fx.Transform[None, Counted]):
    """Counts the steps of each environment; the second is 100 ahead."""

    def init(self, agent, data, key):
        return jnp.zeros((), jnp.int32)

    def update(self, agent, state, data, key):
        time = state + jnp.arange(NUM_STEPS) + 100 * jnp.arange(NUM_ENVS)[:, None]
        data = Counted(time, time[:, 0].astype(float))
        return fx.Step(agent, state + NUM_STEPS, data)


class Keep(fx.Transform[Counted, Counted]):
    """Keeps the last data that it saw, and counts its updates."""

    def init(self, agent, data, key):
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), data()), jnp.zeros((), int)

    def update(self, agent, state, data, key):
        return fx.Step(agent, (data, state[1] + 1), data, {"first": data.time[0, 0] * 1.0})


def states(algorithm, updates, agent=AGENT):
    """The state after each update, and the metrics of all."""
    train = fx.anakin_loop(algorithm, 1)
    state, seen, metrics = train.init(agent, KEY), [], []
    for _ in range(updates):
        state, new = train.step(state)
        seen.append(state)
        metrics.append({name: float(value[0]) for name, value in new.items()})
    return seen, metrics


def test_accumulate_runs_on_the_data_of_n_updates():
    algorithm = fx.chain(Count(), fx.accumulate(3, Keep()))
    seen, metrics = states(algorithm, 7)
    for update, state in enumerate(seen, start=1):
        data, runs = state.algorithm["accumulate/keep"]
        assert int(runs) == update // 3
        if update % 3 == 0:
            times = np.arange(update * NUM_STEPS - 9, update * NUM_STEPS)
            np.testing.assert_array_equal(data.time, [times, times + 100])
            np.testing.assert_array_equal(data.memory, [times[0], times[0] + 100])
            assert metrics[update - 1]["keep/first"] == times[0]
        else:
            assert np.isnan(metrics[update - 1]["keep/first"])


def test_replay_takes_data_of_ones_own_with_its_hidden_states():
    replay = fx.replay(Keep(), capacity=24, batch_size=24, length=NUM_STEPS)
    state = states(fx.chain(Count(), replay), 6)[0][-1]
    data, runs = state.algorithm["replay/keep"]
    assert int(runs) == 3
    # Four rollouts of each environment are stored, and windows begin where these did.
    starts = np.asarray(data.time[:, 0])
    assert set(starts) == {6, 9, 12, 15, 106, 109, 112, 115}
    np.testing.assert_array_equal(data.time, starts[:, None] + np.arange(NUM_STEPS))
    np.testing.assert_array_equal(data.memory, starts)


def test_replay_without_hidden_states_begins_anywhere():
    replay = fx.replay(Keep(), capacity=24, batch_size=24, length=2, memory=False)

    class Windows(Keep):
        def init(self, agent, data, key):
            assert data().memory is None
            return super().init(agent, data, key)

    replay = eqx.tree_at(lambda r: r.inner, replay, fx.chain(keep=Windows()))
    data, _ = states(fx.chain(Count(), replay), 6)[0][-1].algorithm["replay/keep"]
    assert {int(t) % 3 for t in data.time[:, 0]} == {0, 1, 2}


@pytest.mark.slow
def test_replay_of_estimates_trains_ppos_loss_on_them():
    agent = fx.actor_critic("CartPole-v1", key=KEY, width=8)
    learn = fx.minimize(fx.ppo_loss(), fx.optimizer(optax.sgd, 1e-2))
    algorithm = fx.chain(
        fx.rollout("CartPole-v1", num_envs=2, num_steps=4),
        fx.gae(),
        fx.replay(learn, capacity=16, batch_size=4, length=2),
    )
    metrics = fx.anakin_loop(algorithm, 3)(agent, KEY)[1]
    assert np.isfinite(metrics["minimize/loss"]).all()
    for options, message in (
        ({"sampling": fx.prioritized()}, "wanted data with a field `weight`"),
        ({"observations": 40}, "replay: observations: wanted transitions"),
    ):
        replay = fx.replay(learn, capacity=16, batch_size=4, **options)
        loop = fx.anakin_loop(fx.chain(algorithm["rollout"], algorithm["gae"], replay), 1)
        with pytest.raises(fx.WiringError, match=message):
            loop(agent, KEY)


class Rows(eqx.Module):
    x: jax.Array
    y: jax.Array


def test_a_dataset_gives_each_row_once_an_epoch():
    data = Rows(np.arange(10)[:, None], np.arange(10) * 2)

    class Look(fx.Transform[Rows, Rows]):
        def init(self, agent, data, key):
            assert data().x.shape == (3, 1)
            return jnp.zeros(3, int)

        def update(self, agent, state, data, key):
            same = jnp.all(data.x[:, 0] * 2 == data.y)
            return fx.Step(agent, data.x[:, 0], data, {"same": same * 1.0})

    algorithm = fx.chain(fx.dataset(data, batch_size=3), Look())
    seen, metrics = states(algorithm, 9)
    batches = np.stack([state.algorithm["look"] for state in seen])
    epochs = [sorted(batches[i : i + 3].ravel()) for i in (0, 3, 6)]
    for epoch in epochs:
        assert len(set(epoch)) == 9
        assert set(epoch) <= set(range(10))
    assert len({tuple(batches[i : i + 3].ravel()) for i in (0, 3, 6)}) == 3
    assert [m["steps"] for m in metrics] == list(range(3, 30, 3))
    assert all(m["look/same"] for m in metrics)
    # The data is an argument of the program, and no constant in it.
    assert (
        fx.partition(algorithm)[1]
        == fx.partition(
            fx.chain(
                fx.dataset(Rows(np.ones((10, 1), int), np.ones(10, int)), batch_size=3), Look()
            )
        )[1]
    )


def transitions(axes, **fields):
    numbers, flags = jnp.zeros(axes), jnp.zeros(axes, bool)
    return fx.data.Transitions(numbers, numbers, numbers, flags, flags, numbers, **fields)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fx.dataset((np.ones(4), np.ones(3)), batch_size=2), fx.WiringError, "data: w"),
        (lambda: fx.dataset(np.ones(4), batch_size=5), fx.HyperparameterError, "the 4 rows"),
        (lambda: fx.dataset(np.ones(4), batch_size=0), fx.HyperparameterError, "batch_size"),
        (lambda: fx.dataset({"name": "x"}, batch_size=1), fx.WiringError, "arrays of numbers"),
        (lambda: fx.dataset(transitions((4,)), batch_size=1), fx.WiringError, "first 2 axes"),
        (lambda: fx.accumulate(0, Keep()), fx.HyperparameterError, "accumulate: n"),
        (lambda: fx.lagged(Count(), period=0), fx.HyperparameterError, "lagged: period"),
        (lambda: fx.lagged(Count, period=1), (fx.WiringError, TypeError), "inner"),
        (
            lambda: fx.rollout("CartPole-v1", num_envs=1, num_steps=1, keep=("info", "odds")),
            fx.HyperparameterError,
            "rollout: keep",
        ),
        (
            lambda: fx.rollout("CartPole-v1", num_envs=1, num_steps=1, keep=3),
            (fx.HyperparameterError, TypeError),
            "keep",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Report(fx.Transform[None, jax.Array]):
    """Gives the weight of the agent that acts."""

    def init(self, agent, data, key):
        return ()

    def update(self, agent, state, data, key):
        return fx.Step(agent, state, agent["weight"][0], {"acted": agent["weight"][0]})


class Increase(fx.Transform[jax.Array, jax.Array]):
    def init(self, agent, data, key):
        return ()

    def update(self, agent, state, data, key):
        return fx.Step(
            {"weight": agent["weight"] + 1}, state, data, {"age": agent["weight"][0] - data}
        )


def test_a_lagged_rollout_acts_as_some_updates_ago():
    algorithm = fx.chain(fx.lagged(Report(), period=3), Increase())
    _, metrics = states(algorithm, 8)
    assert [m["report/acted"] for m in metrics] == [0, 0, 0, 3, 3, 3, 6, 6]
    assert [m["increase/age"] for m in metrics] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_a_rollout_keeps_the_distribution_and_the_info():
    env = fx.envs.NormalizeReward("CartPole-v1")
    agent = fx.actor_critic(env, key=KEY, width=8)
    stage = fx.chain(fx.rollout(env, num_envs=2, num_steps=4, keep=("distribution", "info")))
    rollout = stage.update(agent, stage.init(agent, lambda: None, KEY), None, KEY).out
    log_prob = jax.vmap(jax.vmap(lambda d, a: d.log_prob(a)))(rollout.distribution, rollout.action)
    np.testing.assert_allclose(log_prob, rollout.log_prob, rtol=1e-5)
    np.testing.assert_array_equal(rollout.info["unscaled_reward"], np.ones((2, 4)))
    plain = fx.rollout(env, num_envs=2, num_steps=4)
    shapes = jax.eval_shape(
        lambda: plain.update(agent, plain.init(agent, lambda: None, KEY), None, KEY).out
    )
    assert shapes.distribution is None
    assert shapes.info is None


def test_a_function_sets_priorities_by_its_third_value():
    agent = fx.q_agent("CartPole-v1", key=KEY, widths=(8,))

    def loss(agent, data: fx.data.Targets, key):
        value, metrics = fx.q_loss()(agent, data, key)
        return value, metrics | {"mine": value}, jnp.full(data.weight.shape, 7.0)

    def mine(agent, data: fx.data.Targets, key):
        value, metrics, priority = loss(agent, data, key)
        del metrics
        return value, {}, priority

    learn = fx.chain(fx.td_target(), fx.minimize(mine, fx.optimizer(optax.sgd, 1e-3)))
    replay = fx.replay(learn, capacity=16, batch_size=4, sampling=fx.prioritized())
    algorithm = fx.chain(fx.rollout("CartPole-v1", num_envs=2, num_steps=2), replay)
    state = states(algorithm, 2, agent)[0][-1]
    assert float(state.algorithm["replay"].sampling.largest) == pytest.approx(7.0, rel=1e-5)


def test_a_lagged_stage_that_learns_is_refused():
    algorithm = fx.lagged(fx.chain(Report(), Increase()), period=2)
    with pytest.raises(fx.WiringError, match="lagged: inner: wanted stages that leave the agent"):
        fx.anakin_loop(algorithm, 1)(AGENT, KEY)


def test_samples_are_not_accumulated():
    data = transitions((2, 1), weight=jnp.ones(2))
    with pytest.raises(fx.WiringError, match=r"accumulate: data: wanted trajectories.*weight"):
        fx.accumulate(2, fx.identity()).init(AGENT, lambda: data, KEY)


class Opaque:
    def __init__(self, inner):
        self.sample, self.log_prob = inner.sample, inner.log_prob


class Explore(fx.stages.AbstractExploration):
    def __call__(self, output, steps):
        return Opaque(output.distribution)


def test_a_distribution_that_is_no_pytree_is_not_kept():
    agent = fx.actor_critic("CartPole-v1", key=KEY, width=8)
    stage = fx.rollout(
        "CartPole-v1", num_envs=2, num_steps=2, explore=Explore(), keep="distribution"
    )
    with pytest.raises(fx.WiringError, match=r"keep: 'distribution': wanted.*PyTrees.*Opaque"):
        fx.anakin_loop(stage, 1)(agent, KEY)


def test_priorities_want_a_field_for_them():
    def loss(agent, data, key):
        del key
        return (agent["weight"] * data.x.mean()).sum(), {}, data.y

    learn = fx.minimize(loss, optax.sgd(1e-2))
    algorithm = fx.chain(fx.dataset(Rows(np.ones((4, 1)), np.ones(4)), batch_size=2), learn)
    with pytest.raises(fx.WiringError, match="minimize: loss: wanted data with a field `priority`"):
        fx.anakin_loop(algorithm, 1)(AGENT, KEY)
