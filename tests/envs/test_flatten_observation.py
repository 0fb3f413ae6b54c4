"""Flattened observations mean to an agent what they meant before."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lerax_fx as fx
from lerax_fx.agents import vector_encoding

from .random_walk import RandomWalk
from .test_spaces import simple, spaces

KEY = jax.random.key(0)
PIXEL = fx.spaces.Box(0, 255, (2, 2, 1), np.uint8)


class Shows(RandomWalk):
    """Its observations are samples of a space."""

    space: fx.spaces.Space = eqx.field(kw_only=True)

    @property
    def observation_space(self):
        return self.space

    def observation(self, state, *, key):
        return self.space.sample(key)


def test_bytes_stay_bytes_with_their_bounds():
    space = fx.spaces.Box(np.arange(4).reshape(2, 2, 1), 200, dtype=np.uint8)
    flat = fx.envs.FlattenObservation(Shows(space=space))
    fx.check_env(flat)
    assert flat.observation_space.dtype == np.uint8
    np.testing.assert_array_equal(flat.observation_space.low, [0, 1, 2, 3])
    np.testing.assert_array_equal(flat.observation_space.high, [200] * 4)
    observation = flat.reset(key=KEY)[1]
    assert observation.dtype == jnp.uint8
    np.testing.assert_array_equal(observation, jnp.ravel(flat.env.reset(key=KEY)[1]))


def test_a_pixel_is_encoded_the_same_plain_flattened_and_in_a_mixture():
    image = jnp.full((2, 2, 1), 200, jnp.uint8)
    plain = vector_encoding("test", PIXEL)(image)
    flat = fx.envs.FlattenObservation(Shows(space=PIXEL))
    mixed = fx.envs.FlattenObservation(
        Shows(space=fx.spaces.Dict({"image": PIXEL, "at": fx.spaces.Box(-3, 3, (1,))}))
    )
    for env, seen in [(flat, image), (mixed, {"image": image, "at": jnp.ones(1)})]:
        vector = env.wrap_observation((), seen)
        encoded = vector_encoding("test", env.observation_space)(vector)
        np.testing.assert_allclose(plain, 200 / 255, rtol=1e-6)
        np.testing.assert_array_equal(encoded[-4:], plain)
    np.testing.assert_array_equal(mixed.observation_space.low, [-3, 0, 0, 0, 0])
    np.testing.assert_array_equal(mixed.observation_space.high, [3, 1, 1, 1, 1])


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@settings(max_examples=5, deadline=None)
@given(spaces)
def test_flattened_observations_are_of_the_flattened_space(space):
    env = fx.envs.FlattenObservation(Shows(space=space))
    observation = env.reset(key=KEY)[1]
    assert observation.shape == env.observation_space.shape == (space.flat_size,)
    assert observation.dtype == env.observation_space.dtype
    assert bool(env.observation_space.contains(observation))


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@settings(max_examples=5, deadline=None)
@given(simple)
def test_flatten_is_what_an_agent_makes_of_it(space):
    x = space.sample(KEY)
    np.testing.assert_array_equal(space.flatten(x), vector_encoding("test", space)(x))


def test_flattened_timed_observations_keep_their_time():
    env = fx.envs.FlattenObservation(
        fx.envs.IrregularTime(Shows(space=fx.spaces.Box(-1.0, 1.0, (2, 2))))
    )
    fx.check_env(env)
    observation = env.reset(key=KEY)[1]
    assert isinstance(observation, fx.data.Timed)
    assert observation.value.shape == (4,)
    assert env.observation_space.dt.high == 5.0


def test_bounds_of_a_traced_environment():
    def high(value):
        space = fx.spaces.Dict({"a": fx.spaces.Box(0.0, value, (2,)), "b": fx.spaces.Discrete(2)})
        return jnp.asarray(fx.envs.FlattenObservation(Shows(space=space)).observation_space.high)

    np.testing.assert_array_equal(jax.jit(high)(7.0), [7, 7, 1, 1])
