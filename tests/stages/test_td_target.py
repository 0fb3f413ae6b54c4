"""Targets of action values against numpy, ends of episodes in any pattern included."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lerax_fx as fx

KEY = jax.random.key(0)
BATCH, TIME, ACTIONS = 3, 5, 4
SPACES = (fx.spaces.Box(-1.0, 1.0, (2,)), fx.spaces.Discrete(ACTIONS))


def q_values(agent, observation):
    return agent.step(None, observation, KEY)[1].q_values


AGENT = fx.q_agent(SPACES, key=KEY, widths=(8,))
OTHER = fx.q_agent(SPACES, key=jax.random.key(1), widths=(8,))


def transitions(seed, time=TIME, ends=0.3):
    rng = np.random.default_rng(seed)
    ended = rng.random((BATCH, time)) < ends
    terminated = ended & (rng.random((BATCH, time)) < 0.5)
    fields = (
        rng.normal(size=(BATCH, time, 2)).astype(np.float32),
        rng.integers(ACTIONS, size=(BATCH, time)).astype(np.int32),
        rng.normal(size=(BATCH, time)).astype(np.float32),
        terminated,
        ended & ~terminated,
        rng.normal(size=(BATCH, time, 2)).astype(np.float32),
    )
    return fx.data.Transitions(*map(jnp.asarray, fields))


@jax.jit
def values(agent, observation):
    return jax.vmap(jax.vmap(lambda x: q_values(agent, x)))(observation)


def by_hand(data, n, discount, double):
    """Of each step that n follow: one loop, one step at a time."""

    targets = np.zeros((BATCH, data.reward.shape[1] - n + 1))
    own, other = (np.asarray(values(agent, data.next_observation)) for agent in (AGENT, OTHER))
    for b in range(BATCH):
        target_values = other[b]
        best = (own if double else other)[b].argmax(-1)
        for start in range(targets.shape[1]):
            total, factor = 0.0, 1.0
            for t in range(start, start + n):
                total += factor * float(data.reward[b, t])
                factor *= discount
                if data.terminated[b, t]:
                    factor = 0.0
                if data.done[b, t]:
                    break
            targets[b, start] = total + factor * target_values[t, best[t]]
    return targets


@functools.cache
def compiled(n, double):
    def targets(agent, other, data, discount):
        stage = fx.td_target(update=fx.polyak(0.0), n=n, double=double, discount=discount)
        state = eqx.tree_at(lambda s: s.network, stage.init(agent, lambda: None, KEY), other)
        return stage.update(agent, state, data, KEY).out

    return jax.jit(targets)


def computed(data, target=OTHER, n=1, double=False, discount=0.99):
    return compiled(n, double)(AGENT, target, data, discount)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, False), (2, False), (2, True), (5, True)]),
    st.floats(0.0, 1.0),
)
def test_targets_are_those_by_hand(seed, options, discount):
    n, double = options
    data = transitions(seed)
    out = computed(data, n=n, double=double, discount=discount)
    np.testing.assert_allclose(out.target, by_hand(data, n, discount, double), rtol=1e-4, atol=1e-5)
    assert out.observation.shape == (BATCH, TIME - n + 1, 2)
    np.testing.assert_array_equal(out.action, data.action[:, : TIME - n + 1])


def test_a_time_limit_does_not_stop_bootstrapping():
    data = transitions(0, ends=0.0)
    on = jnp.ones((BATCH, TIME), bool)
    running = computed(data).target
    truncated = computed(eqx.tree_at(lambda d: d.truncated, data, on)).target
    terminated = computed(eqx.tree_at(lambda d: d.terminated, data, on)).target
    np.testing.assert_array_equal(truncated, running)
    np.testing.assert_array_equal(terminated, data.reward)


def test_a_gradient_step_takes_its_targets_for_constants():
    """None of its gradient goes through the target network, nor through the choice of actions."""
    data, loss = transitions(1), fx.q_loss()
    learn = fx.minimize(loss, optax.sgd(1.0))
    gradient_of = jax.jit(jax.grad(lambda agent, data: loss(agent, data, KEY)[0]))
    for double in (False, True):
        step = fx.chain(fx.td_target(double=double), learn)

        def move(agent, step=step):
            return step.update(agent, step.init(agent, lambda: None, KEY), data, KEY).agent

        moved = jax.jit(move)(AGENT)
        constant = computed(data, target=AGENT, double=double)
        gradient = gradient_of(AGENT, constant)
        for new, old, slope in zip(*map(jax.tree.leaves, (moved, AGENT, gradient)), strict=True):
            np.testing.assert_allclose(new, old - slope, rtol=1e-4, atol=1e-6)


def test_gradients_reach_its_hyperparameters():
    data = transitions(1)

    def total(discount):
        return computed(data, n=2, discount=discount).target.sum()

    slope = jax.grad(total)(0.9)
    np.testing.assert_allclose(slope, (total(0.91) - total(0.89)) / 0.02, rtol=1e-2)


def test_a_terminal_observation_may_be_worth_anything():
    data = transitions(0, ends=0.0)
    data = eqx.tree_at(
        lambda d: (d.terminated, d.next_observation),
        data,
        (jnp.ones((BATCH, TIME), bool), jnp.full((BATCH, TIME, 2), jnp.nan)),
    )
    np.testing.assert_array_equal(computed(data).target, data.reward)


def test_what_is_no_float_is_copied_by_polyak():
    old = {"count": jnp.array([1, 2]), "half": jnp.zeros(2, jnp.bfloat16)}
    new = {"count": jnp.array([5, 6]), "half": jnp.ones(2, jnp.bfloat16)}
    followed = fx.polyak(np.float32(0.25))(new, old, jnp.array(3))
    np.testing.assert_array_equal(followed["count"], [5, 6])
    assert followed["half"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(followed["half"].astype(float), 0.25)


@pytest.mark.parametrize("period", [1, 3])
def test_a_periodic_copy_is_made_every_so_often(period):
    stage = fx.td_target(update=fx.periodic(period))
    state, data = stage.init(AGENT, lambda: None, KEY), transitions(2)
    update = jax.jit(lambda agent, state: stage.update(agent, state, data, KEY).state)
    copied = []
    for time in range(7):
        state = update(jax.tree.map(lambda x, time=time: x + time, AGENT), state)
        copied.append(float(state.network.network.layers[0].bias[0]))
    assert copied == [float(time // period * period) for time in range(7)]


def test_a_polyak_mean_moves_by_its_step_size():
    stage = fx.td_target(update=fx.polyak(0.25))
    state = stage.init(AGENT, lambda: None, KEY)
    moved = jax.tree.map(lambda x: x + 1.0, AGENT)
    update = jax.jit(lambda agent, state, data: stage.update(agent, state, data, KEY).state)
    state = update(moved, state, transitions(3))
    for new, old in zip(jax.tree.leaves(state.network), jax.tree.leaves(AGENT), strict=True):
        np.testing.assert_allclose(new, old + 0.25, rtol=1e-5)


@pytest.mark.parametrize("huber", [None, 0.5])
def test_the_loss_is_that_by_hand(huber):
    rng = np.random.default_rng(4)
    data = computed(transitions(4))
    data = eqx.tree_at(lambda d: d.target, data, jnp.asarray(rng.normal(size=(BATCH, TIME)), float))
    taken = np.take_along_axis(
        np.asarray(values(AGENT, data.observation)), np.asarray(data.action)[..., None], -1
    )[..., 0]
    error = np.abs(taken - np.asarray(data.target))
    losses = error**2 / 2
    if huber is not None:
        losses = np.where(error <= huber, losses, huber * (error - huber / 2))
    loss, metrics = eqx.filter_jit(fx.q_loss(huber=huber))(AGENT, data, KEY)
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["q_value"], taken.mean(), rtol=1e-5)


def test_dueling_values_have_the_advantages_mean_removed():
    agent = fx.q_agent(SPACES, key=KEY, widths=(8,), dueling=True)
    observation = jnp.array([0.3, -0.2])
    outputs = agent.network(observation)
    values = q_values(agent, observation)
    np.testing.assert_allclose(values.mean(), outputs[0], rtol=1e-5)
    np.testing.assert_allclose(jnp.diff(values), jnp.diff(outputs[1:]), rtol=1e-4)


def test_its_policy_is_its_best_action():
    observation = jnp.array([0.3, -0.2])
    memory, output = AGENT.step(AGENT.initial_memory(), observation, KEY)
    distribution, value, values = output.distribution, output.value, output.q_values
    assert memory is None
    assert int(distribution.mode()) == int(values.argmax())
    assert float(value) == float(values.max())
    _, outputs = AGENT.unroll(None, observation[None], jnp.zeros(1, bool), KEY)
    assert outputs.value.shape == (1,)
    np.testing.assert_allclose(outputs.q_values[0], values, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fx.td_target(discount=1.5), fx.HyperparameterError, "td_target: discount"),
        (lambda: fx.td_target(n=-1), fx.HyperparameterError, "td_target: n"),
        (lambda: fx.td_target(dsicount=0.9), fx.HyperparameterError, "discount"),
        (lambda: fx.td_target(update=500), (fx.WiringError, TypeError), "update"),
        (lambda: fx.td_target(double="no"), (fx.HyperparameterError, TypeError), "double"),
        (lambda: fx.periodic(0), fx.HyperparameterError, "periodic: period"),
        (lambda: fx.polyak(2.0), fx.HyperparameterError, "polyak: step_size"),
        (lambda: computed(transitions(0), n=6), fx.WiringError, r"fx\.replay\(\.\.\., length=6\)"),
        (lambda: fx.q_agent("Pendulum-v1", key=KEY), fx.WiringError, "q_agent: actions"),
        (
            lambda: fx.td_target().update(
                agent := fx.agents.mlp_actor_critic(SPACES, key=KEY),
                fx.td_target().init(agent, lambda: None, KEY),
                transitions(0),
                KEY,
            ),
            fx.WiringError,
            r"td_target: agent.*fx\.q_agent",
        ),
    ],
)
def test_bad_input_is_told_so(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_each_float_costs_no_compilation():
    """What is compiled depends on the structure, see test_anakin."""

    def split(discount, step_size, rate):
        inner = fx.chain(
            fx.td_target(discount=discount, update=fx.polyak(step_size)),
            fx.minimize(fx.q_loss(huber=rate), fx.optimizer(optax.adam, rate)),
        )
        collect = fx.rollout(
            "CartPole-v1", num_envs=1, num_steps=2, explore=fx.epsilon_greedy(rate)
        )
        return fx.partition(fx.chain(collect, fx.replay(inner, capacity=8, batch_size=2)))

    (some, one), (others, other) = split(0.9, 0.1, 1e-3), split(0.8, 0.2, 1e-2)
    assert one == other
    assert sum(a != b for a, b in zip(some, others, strict=True)) == 5
