import gzip
import subprocess
import sys
from urllib.error import URLError

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lerax_fx import Env, EnvironmentSetupError, check_env, make, partition
from lerax_fx.spaces import Box, Discrete

gymnax = pytest.importorskip("gymnax")

KEY = jax.random.key(0)
IDS = ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "Breakout-MinAtar"]


def ours(env, keys, actions):
    def one(state, inputs):
        key, action = inputs
        following = env.transition(state, action, key=key)
        reward = env.reward(state, action, following, key=key)
        observation = env.observation(following, key=key)
        end = env.terminal(following, key=key), env.truncate(following)
        return following, (observation, reward, *end)

    return jax.lax.scan(one, env.initial(key=KEY), (keys, actions))[1]


def theirs(environment, params, keys, actions):
    def one(state, inputs):
        key, action = inputs
        observation, following, reward, terminated, _ = environment.step_env(
            key, state, action, params
        )
        truncated = environment.is_truncated(following, params)
        following = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), following, state)
        return following, (observation, reward, terminated, truncated)

    state = jax.tree.map(jnp.asarray, environment.reset_env(KEY, params)[1])
    return jax.lax.scan(one, state, (keys, actions))[1]


@pytest.mark.parametrize("name", IDS)
def test_steps_are_those_of_gymnax(name):
    environment, params = gymnax.make(name)
    params = params.replace(max_steps_in_episode=30)
    env = make(name, max_steps_in_episode=30)
    keys = jax.random.split(KEY, 40)
    actions = jax.vmap(env.action_space.sample)(keys)
    for mine, wanted in zip(
        jax.jit(lambda: ours(env, keys, actions))(),
        jax.jit(lambda: theirs(environment, params, keys, actions))(),
        strict=True,
    ):
        np.testing.assert_allclose(
            mine, np.asarray(wanted).reshape(mine.shape), rtol=1e-5, atol=1e-6
        )


def test_the_time_limit_of_gymnax_truncates():
    env = make("Pendulum-v1", max_steps_in_episode=3)
    keys = jax.random.split(KEY, 4)
    _, _, terminated, truncated = ours(env, keys, jnp.zeros((4, 1)))
    np.testing.assert_array_equal(terminated, [False] * 4)
    np.testing.assert_array_equal(truncated, [False, False, True, True])


def test_every_registered_environment_keeps_the_contract():
    for name in gymnax.registered_envs:
        if name != "MNISTBandit-bsuite":  # it downloads its images
            check_env(make(name))


def test_spaces_are_converted():
    assert make("CartPole-v1").action_space == Discrete(2)
    space = make("Pendulum-v1").action_space
    assert isinstance(space, Box)
    assert (float(space.low[0]), float(space.high[0]), space.shape) == (-2.0, 2.0, (1,))
    # FourRooms observes whole numbers, and declares floats.
    rooms = make("FourRooms-misc")
    assert rooms.reset(key=KEY)[1].dtype == rooms.observation_space.dtype == jnp.float32


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1"])
def test_made_twice_they_have_one_structure_and_other_numbers_do_not_matter(name):
    (_, one), (_, two) = partition(make(name)), partition(make(name))
    assert one == two
    assert hash(one) == hash(two)
    assert partition(make("CartPole-v1", gravity=5))[1] == partition(make("CartPole-v1"))[1]
    limited = make("CartPole-v1", max_steps_in_episode=5)
    assert partition(limited)[1] != partition(make("CartPole-v1"))[1]


def test_spaces_are_known_while_tracing():
    """Some environments write their bounds as arrays."""

    def bounds(_):
        space = make("Reacher-misc").action_space
        assert not isinstance(space.high, jax.core.Tracer)
        return jnp.asarray(space.high)

    assert jax.jit(bounds)(0).shape == make("Reacher-misc").action_space.shape


def test_parameters_can_be_traced():
    @jax.jit
    def speed(gravity):
        env = make("CartPole-v1", gravity=gravity)
        state, _ = env.reset(key=KEY)
        return env.step(state, jnp.ones((), jnp.int32), key=KEY).observation[3]

    assert float(speed(9.8)) != float(speed(0.0))


def test_an_object_and_a_pair_are_adapted_and_an_env_passes():
    environment, params = gymnax.make("CartPole-v1")
    assert make(environment).name == "CartPole-v1"
    adapted = make((environment, params.replace(gravity=1.0)), masscart=2)
    assert (adapted.params.gravity, adapted.params.masscart) == (1.0, 2.0)
    assert isinstance(adapted, Env)
    assert make(adapted) is adapted


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: make("CartPol-v1"), "Did you mean 'CartPole-v1'"),
        (lambda: make("cartpole"), "Did you mean 'CartPole-v1'"),
        (lambda: make("zzzzzzzz"), "Choose one of: CartPole-v1"),
        (lambda: make("CartPole-v1", gravty=1.0), "make: gravty.*Did you mean 'gravity'"),
        (lambda: make(make("CartPole-v1"), gravity=1.0), "make: gravity"),
        (lambda: make(3), "3 of type int"),
    ],
)
def test_errors_of_make(call, hint):
    with pytest.raises(EnvironmentSetupError, match=hint):
        call()


@pytest.mark.parametrize(
    "error", [URLError("no network"), gzip.BadGzipFile("not gzipped"), EOFError("cut short")]
)
def test_a_data_set_that_cannot_be_loaded_is_named_with_the_reason(error, monkeypatch):
    from gymnax.utils import load_mnist

    def fails(*_args):
        raise error

    monkeypatch.setattr(load_mnist, "load_mnist", fails)
    with pytest.raises(EnvironmentSetupError, match=r"MNISTBandit-bsuite: .*data set") as raised:
        make("MNISTBandit-bsuite")
    assert str(error) in str(raised.value)


def test_without_gymnax_make_says_how_to_install_it(monkeypatch):
    import lerax_fx.envs as environments

    monkeypatch.setitem(sys.modules, "gymnax", None)
    monkeypatch.delitem(sys.modules, "lerax_fx.envs.gymnax", raising=False)
    monkeypatch.delattr(environments, "gymnax", raising=False)
    with pytest.raises(EnvironmentSetupError, match=r"pip install 'lerax-fx\[gymnax\]'"):
        make("CartPole-v1")


@pytest.mark.slow
def test_importing_lerax_fx_does_not_import_gymnax():
    code = "import sys, lerax_fx.envs; sys.exit('gymnax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
