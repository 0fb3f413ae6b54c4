"""The random keys that a stack of wrappers hands out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lerax_fx import Env
from lerax_fx.envs import AbstractWrapper, FlattenObservation, NormalizeReward, TimeLimit
from lerax_fx.spaces import Discrete

from .random_walk import RandomWalk

KEY = jax.random.key(3)
RIGHT = jnp.ones((), jnp.int32)


class Keys(RandomWalk):
    """Its state is the key of the last transition."""

    def initial(self, *, key):
        return jnp.zeros((2,), jnp.uint32)

    def transition(self, state, action, *, key):
        return jax.random.key_data(key)

    def observation(self, state, *, key):
        return state[:1] * 0.0

    def terminal(self, state, *, key):
        return jnp.zeros((), bool)


class KeepsKey(AbstractWrapper):
    """Its memory is the key that its last `next_memory` got."""

    env: Env

    def first_memory(self):
        return jnp.zeros((2,), jnp.uint32)

    def next_memory(self, state, action, next_state, *, key):
        return jax.random.key_data(key)


class Passes(Env):
    """An environment around another that is no `AbstractWrapper` and hands its key on."""

    env: Any

    @property
    def action_space(self):
        return Discrete(2)

    @property
    def observation_space(self):
        return self.env.observation_space

    def initial(self, *, key):
        return self.env.initial(key=key)

    def transition(self, state, action, *, key):
        return self.env.transition(state, action, key=key)

    def observation(self, state, *, key):
        return self.env.observation(state, key=key)

    def reward(self, state, action, next_state, *, key):
        return self.env.reward(state, action, next_state, key=key)

    def terminal(self, state, *, key):
        return self.env.terminal(state, key=key)


class Noisy(AbstractWrapper):
    """Adds noise to each observation."""

    env: Env

    def first_memory(self):
        return jnp.zeros(())

    def next_memory(self, state, action, next_state, *, key):
        return jax.random.normal(key)

    def wrap_observation(self, memory, observation):
        return observation + memory


LAYERS = {
    "keeps key": KeepsKey,
    "passes": Passes,
    "time limit": lambda env: TimeLimit(env, 5),
    "flatten": FlattenObservation,
    "normalize reward": NormalizeReward,
}


def test_two_layers_of_noise_are_two_draws():
    env = Noisy(Noisy(RandomWalk()))
    after = env.transition(env.initial(key=KEY), RIGHT, key=KEY)
    assert float(after.memory) != float(after.env.memory)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(sorted(LAYERS)), max_size=7))
def test_all_keys_of_a_stack_differ_and_the_environment_keeps_its_own(names):
    env = Keys()
    for name in names:
        env = LAYERS[name](env)
    state, found = env.transition(env.initial(key=KEY), RIGHT, key=KEY), []
    for name in reversed(names):
        if name == "keeps key":
            found.append(tuple(np.asarray(state.memory)))
        state = state if name == "passes" else state.env
    own = tuple(np.asarray(state))
    assert own == tuple(np.asarray(jax.random.key_data(KEY)))
    assert len({own, *found}) == 1 + names.count("keeps key")
