"""Evaluation: by hand, compiled once per structure, and inside transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lerax_fx as fx

KEY = jax.random.key(0)
SIZES = {"num_episodes": 3, "max_steps": 20}


@pytest.fixture
def compilations():
    """How many programs XLA has compiled so far."""
    events = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield lambda: len(events)
    jax.monitoring.unregister_event_duration_listener(listen)


def agent_of(seed):
    return fx.q_agent("CartPole-v1", key=jax.random.key(seed), widths=(4,))


def same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_it_compiles_once_for_each_structure(compilations):
    agents, keys = [agent_of(1), agent_of(2)], [KEY, jax.random.key(1)]
    environments = [fx.make("CartPole-v1"), fx.make("CartPole-v1", gravity=5.0)]
    before = compilations()
    first = fx.evaluate("CartPole-v1", agents[0], keys[0], **SIZES)
    assert compilations() > before
    jax.block_until_ready(first)

    before = compilations()
    same(first, fx.evaluate("CartPole-v1", agents[0], keys[0], **SIZES))
    for environment, agent, key in [
        (environments[0], agents[0], keys[1]),
        (environments[0], agents[1], keys[0]),
        (environments[1], agents[0], keys[0]),
    ]:
        other = fx.evaluate(environment, agent, key, **SIZES)
        assert not np.array_equal(other.episode_length, first.episode_length)
    fx.evaluate("CartPole-v1", agents[0], keys[0], num_episodes=3, max_steps=2)
    assert compilations() == before


@pytest.mark.slow
def test_transformed_it_is_the_same():
    agents = [agent_of(seed) for seed in (1, 2)]
    keys = jax.random.split(KEY, 2)

    def evaluate(agent, key):
        return fx.evaluate("CartPole-v1", agent, key, greedy=False, **SIZES)

    alone = [evaluate(agent, key) for agent, key in zip(agents, keys, strict=True)]
    same(alone[0], jax.jit(evaluate)(agents[0], keys[0]))
    stack = lambda *leaves: jnp.stack(leaves)  # noqa: E731 -- an argument, twice
    together = jax.vmap(evaluate)(jax.tree.map(stack, *agents), keys)
    same(together, jax.tree.map(stack, *alone))
    shapes = jax.eval_shape(evaluate, agents[0], KEY)
    assert shapes.episode_return.shape == (3,)


def test_episodes_are_those_by_hand():
    env, agent = fx.make("CartPole-v1"), agent_of(1)
    found = fx.evaluate(env, agent, KEY, **SIZES)
    assert (found.episode_return == found.episode_length).all()
    begin_key, key = jax.random.split(KEY)
    begin_keys = jax.random.split(begin_key, 3)
    step = jax.jit(lambda state, action, key: env.advance(state, action, key=key))
    values = jax.jit(lambda observation: agent.step(None, observation, KEY)[1].q_values)
    states, observations = jax.vmap(lambda key: env.reset(key=key))(begin_keys)
    for i in range(3):
        state, observation = jax.tree.map(lambda x, i=i: x[i], (states, observations))
        steps, over, key = 0, False, jax.random.split(KEY)[1]
        while not over and steps < SIZES["max_steps"]:
            key, step_key = jax.random.split(key)
            _, own_key = jax.random.split(jax.random.split(step_key, 3)[i])
            timestep = step(state, values(observation).argmax(), own_key)
            state, observation = timestep.state, timestep.next_observation
            steps, over = steps + 1, bool(timestep.terminated | timestep.truncated)
        assert found.episode_length[i] == steps
        assert found.finished[i] == over
