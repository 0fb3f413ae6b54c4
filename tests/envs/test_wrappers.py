import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lerax_fx import Env, EnvironmentSetupError, HyperparameterError, check_env
from lerax_fx.envs import (
    ENVIRONMENT_AXIS,
    ClipAction,
    FlattenObservation,
    NormalizeReward,
    RescaleAction,
    TimeLimit,
)
from lerax_fx.spaces import Box

from .random_walk import RandomWalk

KEY = jax.random.key(0)


class Drift(Env):
    """A point on a line that moves by the action; the reward is the square of where it is."""

    bound: float = 2.0

    @property
    def action_space(self):
        return Box(-1.0, self.bound, (1,))

    @property
    def observation_space(self):
        return Box(-float("inf"), float("inf"), (1,))

    def initial(self, *, key):
        return jax.random.normal(key, (1,))

    def transition(self, state, action, *, key):
        return state + action

    def observation(self, state, *, key):
        return state

    def reward(self, state, action, next_state, *, key):
        return jnp.square(next_state[0])

    def terminal(self, state, *, key):
        return state[0] > 4.0


@functools.cache
def record(wrapper, number=3, steps=12):
    """Batches of `number` environments, stepped: everything as (time, environment)."""
    env = wrapper(TimeLimit(Drift(), 5))

    def begin(key):
        return env.reset(key=key)

    def step(state, key):
        action = env.action_space.sample(key)
        timestep = env.step(state, action, key=key)
        return timestep, action

    def one(states, key):
        keys = jax.random.split(key, number)
        timesteps, actions = jax.vmap(step, axis_name=ENVIRONMENT_AXIS)(states, keys)
        return timesteps.state, (states, timesteps, actions)

    def run():
        keys = jax.random.split(KEY, number)
        states, first = jax.vmap(begin, axis_name=ENVIRONMENT_AXIS)(keys)
        last, trace = jax.lax.scan(one, states, jax.random.split(jax.random.key(1), steps))
        return first, last, trace

    return env, *jax.jit(run)()


def test_statistics_are_shared_and_outlive_episodes():
    _, _, last, (_, timesteps, _) = record(NormalizeReward)
    assert bool(jnp.any(timesteps.truncated | timesteps.terminated))
    statistics = last.memory.statistics
    np.testing.assert_array_equal(statistics.count, [36.0] * 3)
    np.testing.assert_array_equal(statistics.mean, np.full(3, statistics.mean[0]))


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return():
    _, _, _, (_, timesteps, _) = record(NormalizeReward)
    raw = np.asarray(timesteps.info["unscaled_reward"])
    done = np.asarray(timesteps.truncated | timesteps.terminated)
    running, returns = np.zeros(3), []
    for t in range(len(raw)):
        running = 0.99 * running + raw[t]
        returns.append(running)
        expected = np.clip(raw[t] / np.sqrt(np.var(returns) + 1e-8), -10, 10)
        np.testing.assert_allclose(timesteps.reward[t], expected, rtol=1e-3)
        running = np.where(done[t], 0.0, running)


class Bursts(Drift):
    """The reward is infinite on the left."""

    def reward(self, state, action, next_state, *, key):
        return jnp.where(next_state[0] < 0, jnp.inf, 1.0)


def test_an_infinite_reward_is_left_out_of_the_discounted_return():
    env = NormalizeReward(Bursts())
    state = env.initial(key=KEY)
    for place in (1.0, -1.0, 2.0):
        action = place - state.env
        state = env.transition(state, action, key=KEY)
    np.testing.assert_allclose(state.memory.discounted, 1.0 + 0.99**2)
    assert bool(jnp.isfinite(state.memory.statistics.variance))


def test_the_innermost_unscaled_reward_is_passed_on():
    env = NormalizeReward(FlattenObservation(NormalizeReward(TimeLimit(Drift(), 3))))
    state, _ = env.reset(key=KEY)
    timestep = env.step(state, jnp.ones((1,)), key=KEY)
    inner = env.env.env.advance(state.env.env, jnp.ones((1,)), key=KEY)
    assert float(timestep.info["unscaled_reward"]) == float(inner.info["unscaled_reward"])
    position = env.env.env.env.advance(state.env.env.env, jnp.ones((1,)), key=KEY).observation
    np.testing.assert_allclose(timestep.info["unscaled_reward"], position[0] ** 2, rtol=1e-6)


def test_alone_an_environment_has_its_own_statistics():
    env = NormalizeReward(Drift())
    step = jax.jit(lambda state, key: env.step(state, jnp.zeros((1,)), key=key).state)
    state, _ = env.reset(key=KEY)
    for _ in range(3):
        state = step(state, KEY)
    assert float(state.memory.statistics.count) == 3


def test_wrappers_do_not_change_the_random_numbers_inside():
    env = RandomWalk(slip=0.5)
    wrapped = FlattenObservation(NormalizeReward(TimeLimit(env, 99)))
    keys = jax.random.split(KEY, 20)
    action = jnp.ones((), jnp.int32)
    plain = jax.jit(jax.vmap(lambda k: env.advance(env.initial(key=k), action, key=k).state))(keys)
    same = jax.jit(
        jax.vmap(lambda k: wrapped.advance(wrapped.initial(key=k), action, key=k).state)
    )(keys)
    np.testing.assert_array_equal(plain, same.env.env.env)
    assert 0 < int(plain.sum()) < 20


def test_actions_are_clipped_and_rescaled():
    state = jnp.zeros((1,))
    clipped, rescaled = ClipAction(Drift()), RescaleAction(Drift())
    both = ClipAction(rescaled)
    assert not clipped.action_space.bounded
    assert float(rescaled.action_space.low[0]) == -1.0

    def lands(env, depth, action):
        first = env.initial(key=KEY)
        inner = env.transition(first, jnp.asarray([action]), key=KEY)
        for _ in range(depth):
            first, inner = first.env, inner.env
        return float((inner - first)[0] + state[0])

    for action, inside in [(-9.0, -1.0), (0.5, 0.5), (9.0, 2.0)]:
        assert lands(clipped, 1, action) == pytest.approx(inside, abs=1e-5)
    for action, inside in [(-1.0, -1.0), (0.0, 0.5), (1.0, 2.0)]:
        assert lands(rescaled, 1, action) == pytest.approx(inside, abs=1e-5)
    assert lands(both, 2, 50.0) == pytest.approx(2.0, abs=1e-5)


def test_flattened_observations_match_their_space():
    env = FlattenObservation(RandomWalk())
    check_env(env)
    assert env.observation_space.shape == (1,)
    assert float(env.observation_space.high[0]) == 1.0


def test_names_show_what_is_wrapped():
    assert TimeLimit(RandomWalk(), 5).name == "TimeLimit(RandomWalk)"


@pytest.mark.parametrize("wrapper", [ClipAction, RescaleAction])
def test_action_wrappers_refuse_discrete_actions(wrapper):
    with pytest.raises(EnvironmentSetupError, match=rf"{wrapper.__name__}: env.*Discrete\(2\)"):
        wrapper(RandomWalk())


def test_other_errors_of_construction():
    with pytest.raises(EnvironmentSetupError, match="finite bounds"):
        RescaleAction(Drift(bound=float("inf")))
    with pytest.raises(HyperparameterError, match="TimeLimit: max_steps"):
        TimeLimit(RandomWalk(), 0)
    with pytest.raises(HyperparameterError, match="NormalizeReward: discount"):
        NormalizeReward(RandomWalk(), discount=1.5)


def test_wrappers_take_ids():
    pytest.importorskip("gymnax")
    env = RescaleAction("Pendulum-v1")
    assert env.name == "RescaleAction(Pendulum-v1)"
    check_env(NormalizeReward(TimeLimit(env, 7)))
