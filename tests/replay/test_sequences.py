"""Windows for agents with memory: what they remembered, and what is made of it."""

import distrax
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
from lerax_fx._replay.buffer import RingBuffer

KEY = jax.random.key(0)
ROWS, ENVS = 6, 2
BATCH, TIME, ACTIONS = 3, 5, 4
SPACES = (fx.spaces.Box(-1.0, 1.0, (2,)), fx.spaces.Discrete(ACTIONS))
AGENT = fx.agents.gru_q_agent(SPACES, key=KEY, width=6)
OTHER = fx.agents.gru_q_agent(SPACES, key=jax.random.key(1), width=6)


def transitions(seed, ends=0.3):
    rng = np.random.default_rng(seed)
    ended = rng.random((BATCH, TIME)) < ends
    terminated = ended & (rng.random((BATCH, TIME)) < 0.5)
    fields = (
        rng.normal(size=(BATCH, TIME, 2)).astype(np.float32),
        rng.integers(ACTIONS, size=(BATCH, TIME)).astype(np.int32),
        rng.normal(size=(BATCH, TIME)).astype(np.float32),
        terminated,
        ended & ~terminated,
        rng.normal(size=(BATCH, TIME, 2)).astype(np.float32),
    )
    memory = rng.normal(size=(BATCH, 6)).astype(np.float32)
    return fx.data.Transitions(*map(jnp.asarray, fields), memory=jnp.asarray(memory))


@eqx.filter_jit
def stepped(agent, memory, observation):
    memory, output = agent.step(memory, observation, KEY)
    return memory, output.q_values


def step_by_step(agent, data, b):
    """For each step of one window: the values there and in what it led to, and the memory."""
    memory, rows = data.memory[b], []
    for t in range(TIME):
        if t and data.done[b, t - 1]:
            memory = agent.initial_memory()
        before = memory
        memory, values = stepped(agent, memory, data.observation[b, t])
        _, ahead = stepped(agent, memory, data.next_observation[b, t])
        rows.append((before, np.asarray(values), np.asarray(ahead)))
    return rows


def by_hand(data, n, discount, double):
    targets = np.zeros((BATCH, TIME - n + 1))
    for b in range(BATCH):
        own, other = step_by_step(AGENT, data, b), step_by_step(OTHER, data, b)
        for start in range(targets.shape[1]):
            total, factor = 0.0, 1.0
            for t in range(start, start + n):
                total += factor * float(data.reward[b, t])
                factor *= discount
                if data.terminated[b, t]:
                    factor = 0.0
                if data.done[b, t]:
                    break
            best = (own if double else other)[t][2].argmax()
            targets[b, start] = total + factor * other[t][2][best]
    return targets


@eqx.filter_jit
def targets_of(stage, state, data):
    return stage.update(AGENT, state, data, KEY).out


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1, False), (2, True), (5, False)]))
def test_targets_are_those_step_by_step(seed, options):
    n, double = options
    data = transitions(seed)
    stage = fx.td_target(update=fx.polyak(0.0), n=n, double=double, discount=0.9)
    state = eqx.tree_at(
        lambda s: s.network, stage.init(AGENT, lambda: None, KEY), eqx.filter(OTHER, eqx.is_array)
    )
    out = targets_of(stage, state, data)
    np.testing.assert_allclose(out.target, by_hand(data, n, 0.9, double), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(out.memory, data.memory)
    np.testing.assert_array_equal(out.resets[:, 1:], data.done[:, : TIME - n])
    assert not out.resets[:, 0].any()


def test_the_loss_is_that_step_by_step():
    data = transitions(0)
    target = jnp.asarray(np.random.default_rng(1).normal(size=(BATCH, TIME)), jnp.float32)
    weight = jnp.asarray([1.0, 0.5, 0.1])
    targets = fx.data.Targets(
        data.observation, data.action, target, weight, data.memory, data.resets
    )
    rows = [step_by_step(AGENT, data, b) for b in range(BATCH)]
    taken = [[row[1][a] for row, a in zip(rows[b], data.action[b], strict=True)] for b in range(3)]
    errors = np.abs(np.asarray(taken) - target)
    output = fx.q_loss().evaluate(AGENT, targets, KEY)
    np.testing.assert_allclose(output.loss, (0.5 * errors**2 * weight[:, None]).mean(), rtol=1e-4)
    mixed = 0.9 * errors.max(-1) + 0.1 * errors.mean(-1)
    np.testing.assert_allclose(output.priority, mixed, rtol=1e-4)


def test_gradients_go_back_through_memory():
    data = transitions(0, ends=0.0)
    target = jnp.zeros((BATCH, TIME))

    def last_alone(observation):
        targets = fx.data.Targets(
            observation, data.action, target.at[:, -1].set(9.0), None, data.memory, data.resets
        )
        return fx.q_loss()(AGENT, targets, KEY)[0]

    slope = jax.grad(last_alone)(data.observation)
    assert (jnp.abs(slope).max(axis=(0, 2)) > 1e-6).all()


def test_burning_in_is_stepping_through_the_first_steps():
    for seed in range(6):
        data = transitions(seed, ends=0.5)
        out = targets_of(fx.burn_in(2), (), data)
        for b in range(BATCH):
            memory = step_by_step(AGENT, data, b)[2][0]
            np.testing.assert_allclose(out.memory[b], memory, rtol=1e-4, atol=1e-6)
        for name in ("observation", "action", "reward", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(out, name), getattr(data, name)[:, 2:])


# In the ring.


def counted(first, stride):
    """Steps whose reward says whose they are, and which; the memory is the first's."""
    reward = jnp.arange(ENVS)[:, None] * 1000.0 + first + jnp.arange(stride)
    flags = jnp.zeros(reward.shape, bool)
    data = fx.data.Transitions(reward[..., None], reward.astype(int), reward, flags, flags, -reward)
    return eqx.tree_at(lambda d: d.memory, data, reward[:, :1], is_leaf=lambda x: x is None)


@pytest.mark.quick("sampling0-1", "sampling1-2")
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("sampling", [fx.uniform(), fx.prioritized()])
def test_windows_begin_where_rollouts_did_with_what_was_remembered(stride, sampling):
    length, number = 3, 6000
    ring = RingBuffer.empty(counted(0, stride), ROWS)
    state = sampling.init(ring)
    for time in range(5):
        ring = ring.add(counted(time * stride, stride))
        state = sampling.added(state, ring, stride, length)
    first = sampling.draw(
        state, ring, length, sampling.draw_ahead(KEY, (1, number)), (1, number)
    ).first[0]
    rewards = np.asarray(ring.take(ring.windows(first, length)).reward)
    np.testing.assert_array_equal(np.diff(rewards), 1.0)
    np.testing.assert_array_equal(ring.sample(first, length).memory[:, 0], rewards[:, 0])
    written = 5 * stride
    oldest = max(0, written - ROWS)
    starts = range(oldest, written - length + 1, stride)
    values, counts = np.unique(rewards[:, 0], return_counts=True)
    np.testing.assert_array_equal(values, [env * 1000 + t for env in range(ENVS) for t in starts])
    assert stats.chisquare(counts).pvalue > 1e-3


def test_each_memory_is_the_one_after_the_step_before():
    """All the way from acting, over ends of episodes."""
    agent = fx.agents.gru_q_agent("CartPole-v1", key=KEY, width=4)
    collect = fx.rollout(fx.envs.TimeLimit("CartPole-v1", 5), num_envs=2, num_steps=1)
    stage = fx.replay(fx.identity(), capacity=24, batch_size=4)
    train = fx.anakin_loop(fx.chain(collect, stage), 12)
    ring = train.step(train.init(agent, KEY), 12)[0].algorithm["replay"].ring
    assert bool(ring.steps.truncated.any())
    memory = ring.trajectory_starts.memory
    for place in range(2 * 11):
        expected, _ = stepped(agent, memory[place], ring.steps.observation[place])
        if ring.steps.done[place]:
            expected = agent.initial_memory()
        np.testing.assert_allclose(memory[place + 2], expected, rtol=1e-4, atol=1e-6)


def test_an_agent_without_memory_stores_none():
    agent = fx.q_agent("CartPole-v1", key=KEY)
    collect = fx.rollout("CartPole-v1", num_envs=2, num_steps=4)
    stage = fx.replay(fx.identity(), capacity=24, batch_size=4)
    state = fx.anakin_loop(fx.chain(collect, stage), 1).init(agent, KEY).algorithm["replay"]
    assert jax.tree.leaves(state.ring.trajectory_starts) == []
    # Six fields, a position, a count.
    assert len(jax.tree.leaves(state)) == 8


class Recall(fx.Env):
    """A cue is seen at first, then nothing; at the end the action has to be the cue."""

    observation_space: fx.spaces.Space = fx.spaces.Box(-1.0, 1.0, (2,))
    action_space: fx.spaces.Space = fx.spaces.Discrete(2)

    def initial(self, *, key):
        return jax.random.bernoulli(key).astype(jnp.int32), jnp.zeros((), jnp.int32)

    def transition(self, state, action, *, key):
        return state[0], state[1] + 1

    def observation(self, state, *, key):
        cue, time = state
        return jnp.stack([jnp.where(time == 0, 2.0 * cue - 1, 0.0), time / 3])

    def reward(self, state, action, next_state, *, key):
        return jnp.where((state[1] == 2) & (action == state[0]), 1.0, 0.0)

    def terminal(self, state, *, key):
        return state[1] == 3

    def truncate(self, state):
        return jnp.zeros((), bool)


@pytest.mark.slow
def test_a_recurrent_agent_learns_what_takes_memory():
    """Without memory, half of the cues can be guessed."""
    learn = fx.chain(
        fx.burn_in(1),
        fx.td_target(discount=0.9, double=True, update=fx.periodic(20)),
        fx.minimize(fx.q_loss(), optax.adam(5e-3)),
    )

    def trained(agent):
        algorithm = fx.chain(
            fx.rollout(Recall(), num_envs=8, num_steps=1, explore=fx.epsilon_greedy(0.2)),
            fx.replay(
                learn if agent is recurrent else fx.chain(*learn.stages[1:]),
                capacity=2048,
                batch_size=32,
                length=6,
                sampling=fx.prioritized(),
            ),
        )
        agent, _ = fx.anakin_loop(algorithm, 600)(agent, KEY)
        return fx.evaluate(Recall(), agent, KEY, num_episodes=64).episode_return.mean()

    recurrent = fx.agents.gru_q_agent(Recall(), key=KEY, width=16)
    assert trained(recurrent) == 1.0
    assert trained(fx.q_agent(Recall(), key=KEY, widths=(16,))) < 0.8


# Errors.


def run(inner, agent=None, num_steps=2, **options):
    agent = agent or fx.agents.gru_q_agent("CartPole-v1", key=KEY, width=4)
    stage = fx.replay(inner, **{"capacity": 40, "batch_size": 4, **options})
    collect = fx.rollout("CartPole-v1", num_envs=2, num_steps=num_steps)
    fx.anakin_loop(fx.chain(collect, stage), 2)(agent, KEY)


def test_windows_shorter_than_a_rollout_are_refused():
    with pytest.raises(fx.HyperparameterError, match=r"replay: length: wanted at least.*got 1"):
        run(fx.identity(), length=1)


def test_burning_in_takes_longer_windows_and_memory():
    with pytest.raises(fx.WiringError, match=r"burn_in: steps.*more than 4 steps.*length=5"):
        run(fx.burn_in(4), length=4)
    with pytest.raises(fx.WiringError, match="burn_in: data: wanted data with the agent's memory"):
        run(fx.burn_in(1), fx.q_agent("CartPole-v1", key=KEY), length=4)
    with pytest.raises((fx.HyperparameterError, TypeError), match="burn_in"):
        fx.burn_in(0)


def test_an_agent_with_memory_learns_from_what_it_remembered():
    data = transitions(0)
    forgotten = eqx.tree_at(lambda d: d.memory, data, None)
    stage = fx.td_target()
    with pytest.raises(fx.WiringError, match="td_target: data: wanted data with the agent's"):
        stage.update(AGENT, stage.init(AGENT, lambda: None, KEY), forgotten, KEY)
    with pytest.raises(fx.WiringError, match="q_loss: data: wanted data with the agent's"):
        fx.q_loss()(AGENT, fx.data.Targets(data.observation, data.action, data.reward), KEY)


def test_an_agent_that_values_no_actions_is_refused():
    agent = fx.agents.gru_actor_critic("CartPole-v1", key=KEY, width=4)
    with pytest.raises(fx.WiringError, match=r"td_target: agent: wanted.*fx\.agents\.gru_q_agent"):
        run(fx.td_target(), agent, length=2)
    output = agent.step(agent.initial_memory(), jnp.zeros(4), KEY)[1]
    assert isinstance(output.distribution, distrax.Categorical)


def test_a_memory_can_be_left_out():
    """Then windows may be shorter than a rollout, and begin anywhere in it."""
    seen = []

    @fx.transform
    def look(data: fx.data.Transitions) -> fx.data.Transitions:
        seen.append(data)
        return data

    agent = fx.agents.gru_q_agent("CartPole-v1", key=KEY, width=6)
    sizes = {"capacity": 12, "batch_size": 3, "length": 2, "memory": False}
    algorithm = fx.chain(
        fx.rollout("CartPole-v1", num_envs=2, num_steps=3), fx.replay(look(), **sizes)
    )
    fx.anakin_loop(algorithm, 2)(agent, KEY)
    assert seen[0].memory is None
    assert seen[0].reward.shape == (3, 2)
