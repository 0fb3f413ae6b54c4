"""Observations at random intervals, against the wrapped environment stepped by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lerax_fx as fx

from .random_walk import RandomWalk

KEY = jax.random.key(0)
RIGHT = jnp.ones((), jnp.int32)


class Rising(RandomWalk):
    """A walk in which the k-th step earns k: the place that it leads to."""

    end: int = 1000

    def reward(self, state, action, next_state, *, key):
        return jnp.asarray(next_state, float)

    def terminal(self, state, *, key):
        return state >= self.end


def walk(env, steps, key=KEY):
    """Steps with automatic resets, to the right: timesteps and what was acted on."""

    def one(carry, key):
        state, observation = carry
        timestep = env.step(state, RIGHT, key=key)
        return (timestep.state, timestep.observation), (observation, timestep)

    return jax.jit(lambda: jax.lax.scan(one, env.reset(key=key), jax.random.split(key, steps))[1])()


def by_hand(dts, end=None, limit=None):
    """What the walk earns, and how it ends, if intervals are these, of which an end cuts one."""
    rows, place = [], 0
    for dt in dts:
        earned, made, over, cut = 0.0, 0, False, False
        while made < dt and not (over or cut):
            place, made = place + 1, made + 1
            earned += place
            over, cut = end is not None and place >= end, limit is not None and place >= limit
        rows.append((made, earned, over, cut, place))
        place = 0 if over or cut else place
    return np.array(rows)


def test_an_interval_is_that_many_steps_of_the_wrapped_environment():
    env = fx.envs.IrregularTime(Rising(length=1000), max_steps=4)
    fx.check_env(env)
    _, timesteps = walk(env, 100)
    dt = np.asarray(timesteps.next_observation.dt)
    assert set(dt) == {1.0, 2.0, 3.0, 4.0}
    expected = by_hand(dt)
    np.testing.assert_array_equal(timesteps.reward, expected[:, 1])
    np.testing.assert_allclose(timesteps.next_observation.value[:, 0], expected[:, 4] / 1000)
    assert not np.asarray(timesteps.terminated | timesteps.truncated).any()


@pytest.mark.parametrize(("end", "limit"), [(7, None), (None, 7), (7, 7)])
def test_an_end_ends_the_interval(end, limit):
    inner = Rising(length=1000, end=end or 1000)
    env = fx.envs.IrregularTime(
        inner if limit is None else fx.envs.TimeLimit(inner, limit), max_steps=5
    )
    seen, timesteps = walk(env, 200)
    dt, done = timesteps.next_observation.dt, np.asarray(timesteps.terminated | timesteps.truncated)
    expected = by_hand(np.asarray(dt), end, limit)
    np.testing.assert_array_equal(dt, expected[:, 0])
    np.testing.assert_array_equal(timesteps.reward, expected[:, 1])
    np.testing.assert_array_equal(timesteps.terminated, expected[:, 2])
    np.testing.assert_array_equal(timesteps.truncated, expected[:, 3])
    np.testing.assert_allclose(timesteps.next_observation.value[:, 0], expected[:, 4] / 1000)
    # Every episode is seven steps of the walk long, whatever the intervals were.
    lengths = np.diff(np.cumsum(dt)[done], prepend=0)
    np.testing.assert_array_equal(lengths, 7)
    assert done.sum() > 50
    # An episode begins with no time passed, and the observation after the reset.
    np.testing.assert_array_equal(seen.dt[1:][done[:-1]], 0.0)
    np.testing.assert_array_equal(seen.dt[1:][~done[:-1]], dt[:-1][~done[:-1]])
    np.testing.assert_array_equal(seen.value[1:][done[:-1]], 0.0)
    assert float(seen.dt[0]) == 0.0


def test_intervals_are_uniform():
    env = fx.envs.IrregularTime(Rising(length=1000), max_steps=4)
    states = env.initial(key=KEY)
    draw = jax.jit(jax.vmap(lambda key: env.transition(states, RIGHT, key=key).memory.dt))
    counts = np.unique(draw(jax.random.split(KEY, 4000)), return_counts=True)[1]
    chi_squared = ((counts - 1000.0) ** 2 / 1000.0).sum()
    assert chi_squared < 16.27  # 0.1% of fair draws exceed it, with 3 degrees of freedom


def test_intervals_of_one_step_change_nothing_but_the_random_numbers():
    _, timesteps = walk(fx.envs.IrregularTime(RandomWalk(), max_steps=1), 10)
    _, plain = walk(RandomWalk(), 10)
    np.testing.assert_array_equal(timesteps.reward, plain.reward)
    np.testing.assert_array_equal(timesteps.terminated, plain.terminated)
    np.testing.assert_array_equal(timesteps.observation.value, plain.observation)


def test_each_step_of_the_wrapped_environment_draws_anew():
    env = fx.envs.IrregularTime(RandomWalk(slip=0.5, length=1000), max_steps=2)
    keys = jax.random.split(KEY, 4000)
    state = env.initial(key=KEY)
    after = jax.jit(jax.vmap(lambda key: env.transition(state, RIGHT, key=key)))(keys)
    places = np.asarray(after.env)[np.asarray(after.memory.dt) == 2.0]
    shares = np.bincount(places, minlength=3) / len(places)
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.05)


class Scaled(RandomWalk):
    """The reward is half of what it was, which is reported."""

    def reward(self, state, action, next_state, *, key):
        return -0.5 * jnp.ones(())

    def transition_info(self, state, action, next_state):
        return {"unscaled_reward": -jnp.ones(())}


def test_returns_are_the_wrapped_environments():
    env = fx.envs.IrregularTime(Scaled(), max_steps=3)
    assert "unscaled_reward" in env.advance(env.initial(key=KEY), RIGHT, key=KEY).info
    around = fx.envs.NormalizeReward(fx.envs.IrregularTime(RandomWalk(length=9), max_steps=3))
    for wrapped, length in ((env, 3), (around, 9)):
        agent = fx.actor_critic(wrapped, key=KEY, width=4)
        always_right = eqx.tree_at(
            lambda agent: agent.actor.layers[-1].bias, agent, jnp.array([-10.0, 10.0])
        )
        evaluation = fx.evaluate(wrapped, always_right, KEY, num_episodes=8)
        np.testing.assert_array_equal(evaluation.episode_return, -length)
        assert (np.asarray(evaluation.episode_length) < length).any()


def test_rewards_are_normalised_by_returns_discounted_over_time():
    env = fx.envs.NormalizeReward(
        fx.envs.IrregularTime(Rising(length=1000, end=40), 4), discount=0.9
    )
    _, timesteps = walk(env, 60)
    raw, dts = timesteps.info["unscaled_reward"], np.asarray(timesteps.next_observation.dt)
    done = np.asarray(timesteps.terminated)
    assert len(set(dts)) == 4
    assert done.any()
    running, returns = 0.0, []
    for reward, dt, over, scaled in zip(raw, dts, done, timesteps.reward, strict=True):
        running = float(reward) + 0.9 ** float(dt) * running
        returns.append(running)
        expected = np.clip(reward / np.sqrt(np.var(returns) + 1e-8), -10, 10)
        if len(returns) > 1:  # of one number nothing varies yet
            np.testing.assert_allclose(scaled, expected, rtol=1e-3)
        running = 0.0 if over else running


def test_agents_take_time_as_an_input():
    env = fx.envs.IrregularTime(fx.envs.mask_velocities("CartPole-v1"))
    space = env.observation_space
    assert (space.flat_size, repr(space)) == (3, "TimedSpace(Box(2,))")
    seen = fx.data.Timed(jnp.array([0.5, -0.25]), jnp.asarray(3.0))
    np.testing.assert_array_equal(space.flatten(seen), [0.5, -0.25, 3.0])
    assert bool(space.contains(seen))
    assert not bool(space.contains(fx.data.Timed(seen.value, jnp.asarray(6.0))))
    assert not bool(space.contains(seen.value))
    for make in (fx.agents.mlp_actor_critic, fx.agents.gru_actor_critic, fx.q_agent):
        agent = make(env, key=KEY)
        later = fx.data.Timed(seen.value, jnp.asarray(4.0))
        memory = agent.initial_memory()
        values = [float(agent.step(memory, x, KEY)[1].value) for x in (seen, later)]
        assert values[0] != values[1]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: fx.envs.IrregularTime(RandomWalk(), 0),
            fx.HyperparameterError,
            "IrregularTime: max_steps",
        ),
        (
            lambda: fx.envs.IrregularTime(RandomWalk(), 2.5),
            (fx.HyperparameterError, TypeError),
            "max_steps",
        ),
        (
            lambda: fx.envs.IrregularTime(
                fx.envs.TimeLimit(fx.envs.NormalizeReward(RandomWalk()), 3)
            ),
            fx.EnvironmentSetupError,
            r"Put fx\.envs\.NormalizeReward around",
        ),
        (
            lambda: fx.envs.IrregularTime(
                fx.envs.TimeLimit(fx.envs.IrregularTime(RandomWalk()), 3)
            ),
            fx.EnvironmentSetupError,
            "IrregularTime: env: wanted observations without a time of their own",
        ),
        (
            lambda: fx.envs.TimedSpace((2,), fx.spaces.Box(0.0, 1.0)),
            (fx.HyperparameterError, TypeError),
            "TimedSpace|value",
        ),
        (
            lambda: fx.envs.TimedSpace(fx.spaces.Discrete(2), 3.0),
            (fx.HyperparameterError, TypeError),
            "TimedSpace|dt",
        ),
        (
            lambda: fx.envs.TimedSpace(fx.spaces.Discrete(2), fx.spaces.Box(0.0, 1.0, (1,))),
            fx.HyperparameterError,
            "TimedSpace: dt",
        ),
        (
            lambda: fx.envs.IrregularTime(RandomWalk()).observation_space.shape,
            fx.WiringError,
            "TimedSpace: shape",
        ),
    ],
)
def test_bad_input_is_told_so(make, error, message):
    with pytest.raises(error, match=message):
        make()
