import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lerax_fx import Env, WiringError, check_env
from lerax_fx.envs import TimeLimit
from lerax_fx.spaces import Box, Discrete

from .random_walk import RandomWalk

KEY = jax.random.key(0)
RIGHT, LEFT = jnp.ones((), jnp.int32), jnp.zeros((), jnp.int32)


def test_next_observation_is_before_the_reset_and_observation_after():
    env = RandomWalk(length=1)
    state, observation = env.reset(key=KEY)
    timestep = env.step(state, RIGHT, key=KEY)
    assert (float(observation[0]), float(timestep.reward)) == (0.0, -1.0)
    assert bool(timestep.terminated)
    assert not bool(timestep.truncated)
    assert float(timestep.next_observation[0]) == 1.0
    assert float(timestep.observation[0]) == 0.0
    assert int(timestep.state) == 0


def test_advance_does_not_reset():
    env = RandomWalk(length=1)
    timestep = env.advance(env.initial(key=KEY), RIGHT, key=KEY)
    assert int(timestep.state) == 1
    assert float(timestep.observation[0]) == 1.0


def test_the_time_limit_truncates_and_does_not_terminate():
    env = TimeLimit(RandomWalk(), max_steps=2)
    state, _ = env.reset(key=KEY)
    ends = []
    for _ in range(4):
        timestep = env.step(state, LEFT, key=KEY)
        state = timestep.state
        ends.append((bool(timestep.terminated), bool(timestep.truncated)))
    assert ends == [(False, False), (False, True)] * 2


def test_steps_can_be_scanned_and_vmapped():
    env = RandomWalk(slip=0.5)

    def episode(key):
        def one(state, key):
            timestep = env.step(state, RIGHT, key=key)
            return timestep.state, timestep

        return jax.lax.scan(one, env.reset(key=key)[0], jax.random.split(key, 20))[1]

    timesteps = jax.jit(jax.vmap(episode))(jax.random.split(KEY, 3))
    done = np.asarray(timesteps.terminated)
    assert done.shape == (3, 20)
    assert done.any()
    np.testing.assert_array_equal(np.asarray(timesteps.next_observation)[done], 1.0)
    np.testing.assert_array_equal(np.asarray(timesteps.observation)[done], 0.0)


class Noisy(Env):
    """Its observations are random; `observe` and `earn` say what else is wrong with it."""

    observe: object = (3,)
    earn: object = 0.0
    grow: bool = False

    @property
    def action_space(self):
        return Discrete(2)

    @property
    def observation_space(self):
        return Box(-float("inf"), float("inf"), (3,))

    def initial(self, *, key):
        return {"key": jax.random.key(1), "steps": jnp.zeros((), jnp.int32)}

    def transition(self, state, action, *, key):
        steps = state["steps"] + 1
        return {"key": state["key"], "steps": steps.astype(float) if self.grow else steps}

    def observation(self, state, *, key):
        return jax.random.normal(key, self.observe)

    def reward(self, state, action, next_state, *, key):
        return jnp.asarray(self.earn)

    def terminal(self, state, *, key):
        return state["steps"] == 2


def test_a_random_observation_is_drawn_once_while_the_episode_runs():
    env = Noisy()
    first = env.step(env.initial(key=KEY), LEFT, key=KEY)
    np.testing.assert_array_equal(first.observation, first.next_observation)
    last = env.step(first.state, LEFT, key=KEY)
    assert bool(last.terminated)
    assert not np.array_equal(last.observation, last.next_observation)


@pytest.mark.parametrize("env", [RandomWalk(), Noisy()])
def test_check_env_passes_what_is_right(env):
    check_env(env)


@pytest.mark.parametrize(
    ("env", "place"),
    [
        (Noisy(observe=(2,)), "Noisy: observation"),
        (Noisy(earn=1), "Noisy: reward: wanted a float"),
        (Noisy(earn=[1.0]), "Noisy: reward"),
        (Noisy(grow=True), r"Noisy: transition\['steps'\]"),
        (Noisy(observe="three"), "Noisy: observation: wanted a method that can be traced"),
    ],
)
def test_check_env_names_the_method(env, place):
    with pytest.raises(WiringError, match=place):
        check_env(env)
