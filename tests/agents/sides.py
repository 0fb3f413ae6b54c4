"""A tiny environment whose observations are far from zero."""

import jax
import jax.numpy as jnp

import lerax_fx as fx


class Sides(fx.Env):
    """The reward is 1 for the action that names the side of 1000 that is seen: 999 or 1001."""

    @property
    def action_space(self):
        return fx.spaces.Discrete(2)

    @property
    def observation_space(self):
        return fx.spaces.Box(-jnp.inf, jnp.inf, (1,))

    def initial(self, *, key):
        return jax.random.randint(key, (), 0, 2)

    def transition(self, state, action, *, key):
        return jax.random.randint(key, (), 0, 2)

    def observation(self, state, *, key):
        return (999.0 + 2.0 * state)[None]

    def reward(self, state, action, next_state, *, key):
        return (action == state).astype(float)

    def terminal(self, state, *, key):
        return jnp.zeros((), bool)
