"""Environments that break their contract: `rollout`, `evaluate` and `check_env` name the method,
before anything compiles.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lerax_fx as fx

KEY = jax.random.key(0)
SPACES = fx.spaces.Box(-1.0, 1.0, (2,)), fx.spaces.Discrete(2)
AGENT = fx.agents.mlp_actor_critic(SPACES, key=KEY, width=4)


class Right(fx.Env):
    """Nothing is wrong with it."""

    @property
    def observation_space(self):
        return SPACES[0]

    @property
    def action_space(self):
        return SPACES[1]

    def initial(self, *, key):
        return {"at": jnp.zeros(2), "steps": jnp.zeros((), jnp.int32)}

    def transition(self, state, action, *, key):
        return {"at": state["at"] + action, "steps": state["steps"] + 1}

    def observation(self, state, *, key):
        return state["at"]

    def reward(self, state, action, next_state, *, key):
        return next_state["at"][0]

    def terminal(self, state, *, key):
        return state["steps"] > 3


def no_key(self, state):
    return state["at"]


def branches(self, state, *, key):
    return state["at"] if state["steps"] > 1 else -state["at"]


def fails(self, state, action, *, key):
    raise KeyError("velocity")


def property_of(value):
    return property(lambda self: value)


# What is wrong with it: the method as it is written, and what the error has to say.
BROKEN = {
    "a reward of shape (1,)": (
        {"reward": lambda self, s, a, n, *, key: n["at"][:1]},
        r"reward: wanted a float of shape \(\), got float32\[1\]",
    ),
    "a reward that is an int": (
        {"reward": lambda self, s, a, n, *, key: n["steps"]},
        r"reward: wanted a float of shape \(\), got int32\[\]",
    ),
    "a reward that is a Python float": (
        {"reward": lambda self, s, a, n, *, key: -1.0},
        r"reward: wanted a float .*got the Python float -1\.0.*jnp\.asarray",
    ),
    "a reward that is a list": (
        {"reward": lambda self, s, a, n, *, key: [1.0]},
        "reward: wanted a float .*got a list",
    ),
    "no reward": (
        {"reward": lambda self, s, a, n, *, key: None},
        "reward: wanted a float .*got None",
    ),
    "an end that is a Python bool": (
        {"terminal": lambda self, s, *, key: False},
        "terminal: wanted a bool .*got the Python bool False",
    ),
    "an end that is a float": (
        {"terminal": lambda self, s, *, key: s["at"][0]},
        r"terminal: wanted a bool of shape \(\), got float32\[\]",
    ),
    "an end for each entry": (
        {"terminal": lambda self, s, *, key: s["at"] > 1},
        r"terminal: wanted a bool of shape \(\), got bool\[2\]",
    ),
    "a truncation that is an int": (
        {"truncate": lambda self, s: s["steps"]},
        r"truncate: wanted a bool of shape \(\), got int32\[\]",
    ),
    "an observation that is a list": (
        {"observation": lambda self, s, *, key: [s["at"][0], s["at"][1]]},
        r"observation: wanted an element of Box\(2,\).*got a list",
    ),
    "an observation that is a list of numbers": (
        {"observation": lambda self, s, *, key: [0.0, 1.0]},
        r"observation: wanted an element of Box\(2,\).*got a list",
    ),
    "an observation of another shape": (
        {"observation": lambda self, s, *, key: s["at"][None]},
        r"observation: wanted .*float32\[2\], got float32\[1, 2\]",
    ),
    "an observation of ints in a space of floats": (
        {"observation": lambda self, s, *, key: s["at"].astype(int)},
        r"observation: wanted .*float32\[2\], got int32\[2\]",
    ),
    "an observation with a name in a space without": (
        {"observation": lambda self, s, *, key: {"at": s["at"]}},
        r"observation: wanted .*got a dict",
    ),
    "an observation that takes no key": (
        {"observation": no_key},
        "observation: wanted .*key by keyword, got TypeError",
    ),
    "an observation that branches on a value": (
        {"observation": branches},
        "observation: wanted a method that can be traced.*TracerBoolConversionError",
    ),
    "a state with a Python number": (
        {"initial": lambda self, *, key: {"at": jnp.zeros(2), "steps": 0}},
        r"initial\['steps'\]: wanted an array, got the Python int 0",
    ),
    "a state that changes its dtype": (
        {"transition": lambda self, s, a, *, key: {**s, "steps": s["steps"] + 0.5}},
        r"transition\['steps'\]: wanted a state like initial's, int32\[\], got float32\[\]",
    ),
    "a state that grows": (
        {"transition": lambda self, s, a, *, key: {**s, "at": jnp.zeros(3)}},
        r"transition\['at'\]: wanted .*float32\[2\], got float32\[3\]",
    ),
    "a state that changes its structure": (
        {"transition": lambda self, s, a, *, key: (s["at"], s["steps"])},
        "transition: wanted a state like initial's.*got a tuple",
    ),
    "a transition that fails": ({"transition": fails}, "transition: .*KeyError: 'velocity'"),
    "a transition that gives more than a state": (
        {"transition": lambda self, s, a, *, key: (s, {})},
        "transition: wanted a state like initial's.*got a tuple",
    ),
    "a restart of another structure": (
        {"restart": lambda self, s, reset_state: reset_state["at"]},
        "restart: wanted a state like initial's",
    ),
    "info that is no dict": (
        {"state_info": lambda self, s: s["at"]},
        "state_info: wanted a dict",
    ),
    "info that is text": (
        {"transition_info": lambda self, s, a, n: {"phase": "fall"}},
        r"transition_info\['phase'\]: wanted an array, got a str",
    ),
    "an unscaled reward of shape (1,)": (
        {"transition_info": lambda self, s, a, n: {"unscaled_reward": n["at"][:1]}},
        r"transition_info\['unscaled_reward'\]: wanted a float of shape \(\)",
    ),
    "an action space that is a number": (
        {"action_space": property_of(2)},
        "action_space: wanted a Space, got the Python int 2",
    ),
    "an observation space that is a shape": (
        {"observation_space": property_of((2,))},
        "observation_space: wanted a Space, got a tuple",
    ),
    "a space that is no property": (
        {"action_space": lambda self: SPACES[1]},
        "action_space: wanted a Space.*Make it a property",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_environment_is_named_with_its_method(name):
    methods, message = BROKEN[name]
    env = type("Broken", (Right,), methods)()
    rollout = fx.rollout(env, num_envs=2, num_steps=2)
    for call in (
        lambda: fx.check_env(env),
        lambda: jax.eval_shape(lambda: rollout.init(AGENT, lambda: None, KEY)),
        lambda: fx.evaluate(env, AGENT, KEY, num_episodes=2),
        lambda: fx.check_env(fx.envs.TimeLimit(env, 3)),
    ):
        with pytest.raises(fx.WiringError, match=rf"(?s)^Broken: {message}"):
            call()


def test_a_space_that_fails_names_itself():
    class Broken(Right):
        @property
        def action_space(self):
            return fx.spaces.Discrete(self.choices)  # there is no such field

    with pytest.raises(fx.WiringError, match=r"Broken: action_space: .*choices"):
        fx.check_env(Broken())


def test_check_env_takes_what_make_takes():
    fx.check_env("CartPole-v1")
    with pytest.raises(fx.EnvironmentSetupError, match="make: env"):
        fx.check_env(Right)


def test_numpy_arrays_in_states_and_numbers_in_info_are_fine():
    class Plain(Right):
        def initial(self, *, key):
            return {"at": np.zeros(2), "steps": np.int32(0)}

        def state_info(self, state):
            return {"mass": 1.0}

    stage = fx.rollout(Plain(), num_envs=2, num_steps=2)
    state = stage.init(AGENT, lambda: None, KEY)
    assert bool(jnp.all(jnp.isfinite(stage.update(AGENT, state, None, KEY).out.reward)))


def test_a_batch_of_environments_with_traced_fields_is_checked():
    class Scaled(Right):
        scale: float = 1.0

        def reward(self, state, action, next_state, *, key):
            return self.scale * next_state["at"][0]

    def begin(scale):
        return (
            fx.rollout(Scaled(scale), num_envs=2, num_steps=2).init(AGENT, lambda: None, KEY).steps
        )

    np.testing.assert_array_equal(jax.vmap(begin)(jnp.arange(3.0)), [0, 0, 0])
