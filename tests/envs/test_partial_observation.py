"""Hiding a part of what is observed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lerax_fx as fx

from .random_walk import RandomWalk

KEY = jax.random.key(0)
KEPT = {
    "CartPole-v1": [0, 2],
    "Pendulum-v1": [0, 1],
    "Acrobot-v1": [0, 1, 2, 3],
    "MountainCar-v0": [0],
    "MountainCarContinuous-v0": [0],
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_left_is_the_positions(name):
    whole, partial = fx.make(name), fx.envs.mask_velocities(name)
    fx.check_env(partial)
    state, seen = partial.reset(key=KEY)
    _, everything = whole.reset(key=KEY)
    action = whole.action_space.sample(KEY)
    np.testing.assert_array_equal(seen, everything[jnp.array(KEPT[name])])
    after = partial.step(state, action, key=KEY)
    expected = whole.step(state.env, action, key=KEY)
    for field in ("observation", "next_observation"):
        np.testing.assert_array_equal(
            getattr(after, field), getattr(expected, field)[jnp.array(KEPT[name])]
        )
    space, inner = partial.observation_space, whole.observation_space
    np.testing.assert_array_equal(space.low, np.asarray(inner.low)[KEPT[name]])
    np.testing.assert_array_equal(space.high, np.asarray(inner.high)[KEPT[name]])
    assert bool(space.contains(seen))


def test_what_is_hidden_is_the_velocities():
    """Two states of CartPole that differ in nothing else look the same."""
    env = fx.envs.mask_velocities(fx.envs.TimeLimit("CartPole-v1", 9))
    state = env.initial(key=KEY)
    inner = state.env.env.state
    moving = inner.replace(x_dot=inner.x_dot + 1.0, theta_dot=inner.theta_dot - 1.0)
    game = env.env.env.environment
    keep = jnp.array(env.indices)
    np.testing.assert_array_equal(game.get_obs(inner)[keep], game.get_obs(moving)[keep])
    np.testing.assert_array_equal(
        game.get_obs(inner)[keep], env.observation(state, key=KEY), strict=True
    )


def test_entries_come_in_the_order_that_is_asked_for():
    env = fx.envs.SelectObservation("CartPole-v1", [2, 0])
    _, seen = env.reset(key=KEY)
    _, everything = env.env.reset(key=KEY)
    np.testing.assert_array_equal(seen, [everything[2], everything[0]])
    assert env.name == "SelectObservation(CartPole-v1)"


class Grid(RandomWalk):
    @property
    def observation_space(self):
        return fx.spaces.Box(0.0, 1.0, (2, 2))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fx.envs.mask_velocities(RandomWalk()), fx.EnvironmentSetupError, "got RandomWalk"),
        (
            lambda: fx.envs.mask_velocities("CartPole-v0"),
            fx.EnvironmentSetupError,
            "Did you mean 'CartPole-v1'",
        ),
        (
            lambda: fx.envs.mask_velocities("Breakout-MinAtar"),
            fx.EnvironmentSetupError,
            "Name the entries to keep",
        ),
        (
            lambda: fx.envs.mask_velocities(fx.envs.mask_velocities("CartPole-v1")),
            fx.EnvironmentSetupError,
            r"the 4 numbers.*Box\(2,\)",
        ),
        (
            lambda: fx.envs.mask_velocities(
                fx.envs.TimeLimit(fx.envs.SelectObservation("CartPole-v1", [1, 0, 3, 2]), 9)
            ),
            fx.EnvironmentSetupError,
            "Mask velocities first",
        ),
        (
            lambda: fx.envs.SelectObservation("CartPole-v1", 0),
            (fx.HyperparameterError, TypeError),
            "indices",
        ),
        (
            lambda: fx.envs.mask_velocities(fx.envs.IrregularTime("CartPole-v1")),
            fx.EnvironmentSetupError,
            "Mask velocities first",
        ),
        (
            lambda: fx.envs.SelectObservation(fx.envs.IrregularTime("CartPole-v1"), [0]),
            fx.EnvironmentSetupError,
            "IrregularTime afterwards",
        ),
        (lambda: fx.envs.SelectObservation(Grid(), [0]), fx.EnvironmentSetupError, "one axis"),
        (lambda: fx.envs.SelectObservation("CartPole-v1", [4]), fx.HyperparameterError, "0 to 3"),
        (lambda: fx.envs.SelectObservation("CartPole-v1", [-1]), fx.HyperparameterError, "indices"),
        (
            lambda: fx.envs.SelectObservation("CartPole-v1", [1, 1]),
            fx.HyperparameterError,
            "different",
        ),
        (
            lambda: fx.envs.SelectObservation("CartPole-v1", []),
            fx.HyperparameterError,
            "one or more",
        ),
        (
            lambda: fx.envs.SelectObservation("CartPole-v1", [0.0]),
            (fx.HyperparameterError, TypeError),
            "indices",
        ),
    ],
)
def test_bad_input_is_told_so(make, error, message):
    with pytest.raises(error, match=message):
        make()
