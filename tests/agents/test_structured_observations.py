"""Observations that are Dicts and Tuples, nested too."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx
from lerax_fx.spaces import Box, Dict, Discrete, Tuple

KEY = jax.random.key(0)
IMAGE = Box(0, 255, (4, 4, 1), np.uint8)
VECTORS = Dict({"b": Tuple([Box(-1.0, 1.0, (2,)), Discrete(3)]), "a": Box(0, 255, (2,), np.uint8)})
IMAGES = Dict({"see": Tuple([IMAGE, IMAGE]), "rest": VECTORS})
TIMED = fx.envs.TimedSpace(VECTORS, Box(0.0, 5.0))
SEEN = {"b": (jnp.array([0.5, -1.0]), jnp.int32(2)), "a": jnp.array([255, 51], jnp.uint8)}
ENCODED = [1.0, 0.2, 0.5, -1.0, 0, 0, 1]


class Shows(fx.Env):
    """Shows random elements of a space; there is nothing to earn."""

    space: fx.spaces.Space
    actions: fx.spaces.Space

    @property
    def action_space(self):
        return self.actions

    @property
    def observation_space(self):
        return self.space

    def initial(self, *, key):
        return self.space.sample(key)

    def transition(self, state, action, *, key):
        return self.space.sample(key)

    def observation(self, state, *, key):
        return state

    def reward(self, state, action, next_state, *, key):
        return jnp.zeros(())

    def terminal(self, state, *, key):
        return jnp.zeros((), bool)


def test_parts_are_encoded_one_by_one():
    encode = fx.agents.vector_encoding("test", VECTORS)
    np.testing.assert_allclose(encode(SEEN), ENCODED, rtol=1e-6)
    np.testing.assert_allclose(encode(SEEN), VECTORS.flatten(SEEN), rtol=1e-6)
    timed = fx.agents.vector_encoding("test", TIMED)(fx.data.Timed(SEEN, jnp.float32(3.0)))
    np.testing.assert_allclose(timed, [*ENCODED, 3.0], rtol=1e-6)
    image = jnp.full((4, 4, 1), 51, jnp.uint8)
    whole = {"see": (image, image), "rest": SEEN}
    vector, one, other = fx.agents.image_encoding("test", IMAGES)(whole)
    np.testing.assert_allclose(vector, ENCODED, rtol=1e-6)
    for part in (one, other):
        np.testing.assert_allclose(part, np.full((4, 4, 1), 0.2), rtol=1e-6)
    assert fx.agents.vector_encoding("test", IMAGES)(whole).shape == (16 + 16 + 7,)


CHOICE, FORCE = Discrete(2), Box(-1.0, 1.0, (1,))


@pytest.mark.quick("<lambda>-space1-actions1")
@pytest.mark.parametrize(
    ("make", "space", "actions"),
    [
        (lambda env: fx.actor_critic(env, key=KEY, width=4), IMAGES, CHOICE),
        (lambda env: fx.actor_critic(env, key=KEY, width=4, memory="gru"), IMAGES, FORCE),
        (lambda env: fx.actor_critic(env, key=KEY, width=4), TIMED, CHOICE),
        (lambda env: fx.q_agent(env, key=KEY, widths=(4,), layer_norm=True), IMAGES, CHOICE),
        (lambda env: fx.soft_actor_critic(env, key=KEY, widths=(4,)), IMAGES, CHOICE),
        (lambda env: fx.deterministic_actor_critic(env, key=KEY, widths=(4,)), VECTORS, FORCE),
    ],
)
def test_constructors_take_them(make, space, actions):
    env = Shows(space, actions)
    agent = make(env)
    fx.check_agent(agent, env)
    # Every part of an observation has an influence.
    observation = space.sample(KEY)
    memory = agent.initial_memory()
    value = jax.grad(lambda x: agent.step(memory, x, KEY)[1].value, allow_int=True)
    slopes = jax.jit(value)(observation)
    floats = [s for s in jax.tree.leaves(slopes) if jnp.issubdtype(s.dtype, jnp.floating)]
    assert floats
    assert all(bool(jnp.any(slope != 0)) for slope in floats)


@pytest.mark.slow
def test_training_on_them_changes_every_network():
    env = fx.envs.TimeLimit(Shows(IMAGES, CHOICE), 3)
    agent = fx.actor_critic(env, key=KEY, width=4)
    learn = fx.minimize(fx.ppo_loss(), fx.optimizer(optax.adam, 1e-2))
    collect = fx.rollout(env, num_envs=2, num_steps=4)
    trained, _ = fx.anakin_loop(fx.chain(collect, fx.gae(), learn), 1)(agent, KEY)
    for before, after in zip(agent.torso.cnns, trained.torso.cnns, strict=True):
        weight = before.convolutions[0].linear.weight
        assert bool(jnp.any(after.convolutions[0].linear.weight != weight))


def test_errors_in_words():
    agent = fx.actor_critic((VECTORS, CHOICE), key=KEY, width=4)
    with pytest.raises(fx.WiringError, match="wanted one with an entry 'a'"):
        agent.step(None, {"b": SEEN["b"]}, KEY)
    with pytest.raises(fx.WiringError, match="wanted one with an entry 'a'"):
        fx.evaluate(fx.make("CartPole-v1"), agent, KEY)
    with pytest.raises(fx.WiringError, match=r"wanted images.*alone or in a Dict or Tuple"):
        fx.agents.cnn_actor_critic((VECTORS, CHOICE), key=KEY)
    with pytest.raises(fx.WiringError, match="at least one number"):
        fx.actor_critic((Dict({}), CHOICE), key=KEY)
