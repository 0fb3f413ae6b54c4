"""What the tables of wrong programs share: a program, and how it has to end."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest
from jaxtyping import TypeCheckError

import lerax_fx as fx

KEY = jax.random.key(0)
ENV = fx.make("CartPole-v1")
AGENT = fx.actor_critic(ENV, key=KEY)


class Anything(fx.Env):
    """Random observations of any space, after actions of any space."""

    observation_space: fx.spaces.Space = fx.spaces.Box(-1.0, 1.0, (2,))
    action_space: fx.spaces.Space = fx.spaces.Discrete(2)

    def initial(self, *, key):
        return jnp.zeros((), jnp.int32)

    def transition(self, state, action, *, key):
        return state + 1

    def observation(self, state, *, key):
        return self.observation_space.sample(key)

    def reward(self, state, action, next_state, *, key):
        return jnp.ones(())

    def terminal(self, state, *, key):
        return state >= 5


def collect(env=ENV, num_envs=2, num_steps=4, **options):
    return fx.rollout(env, num_envs=num_envs, num_steps=num_steps, **options)


def learn():
    return fx.minimize(fx.ppo_loss(), optax.sgd(1e-2))


def train(*stages, agent=AGENT, key=KEY):
    return fx.anakin_loop(fx.chain(*stages), 1)(agent, key)


def compiled(caplog):
    """Whether XLA was asked to compile a training program."""
    programs = ("jit(_train)", "jit(_resume)")
    return any(f"XLA compilation of {name}" in m for name in programs for m in caplog.messages)


def check_told(program, error, message, caplog, *, seen_by_type_checkers):
    """A program ends in an error that says so, before it is compiled."""
    with jax.log_compiles(), pytest.raises((error, TypeCheckError)) as raised:
        program()
    # The type checkers, where they are on, see an argument of the wrong type first.
    if not isinstance(raised.value, TypeCheckError):
        assert re.search(message, str(raised.value), re.DOTALL)
    else:
        assert seen_by_type_checkers
    assert not compiled(caplog)
