"""What is written for speed gives what the plain form of it gives."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lerax_fx as fx
from lerax_fx import minibatch
from lerax_fx.losses.on_policy import forward_rollout

KEY = jax.random.key(0)


def stage(num_envs, num_steps):
    return fx.rollout("CartPole-v1", num_envs=num_envs, num_steps=num_steps)


@pytest.mark.slow
def test_agents_without_memory_are_unrolled_over_one_axis():
    agent = fx.actor_critic("CartPole-v1", key=KEY)
    collect = stage(3, 5)
    rollout = jax.jit(collect.update)(agent, collect.init(agent, lambda: None, KEY), None, KEY).out
    evaluation = forward_rollout("test", agent, rollout, KEY)
    keys = jax.random.split(KEY, len(rollout.reward))
    _, output = jax.vmap(agent.unroll)(None, rollout.observation, rollout.resets, keys)
    distribution, value = output.distribution, output.value
    np.testing.assert_allclose(evaluation.value, value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        evaluation.distribution.logits, distribution.logits, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("num_envs", [3, 16])
def test_initial_states_are_the_same_in_pieces(num_envs, monkeypatch):
    rollout = sys.modules["lerax_fx.stages.rollouts"]
    collect = stage(num_envs, 20)
    at_once = draw(collect)
    monkeypatch.setattr(rollout, "_PIECE", 13)
    in_pieces = draw(collect)
    monkeypatch.setattr(rollout, "_SMALL", 0)
    many = draw(collect)
    for other in (in_pieces, many):
        jax.tree.map(np.testing.assert_array_equal, other, at_once)
    assert len(np.unique(at_once.x)) == 20 * num_envs


def draw(collect):
    return collect.draw_ahead(KEY).reset_state.state


def test_an_epoch_holds_every_row_once():
    shuffle = minibatch(fx.identity(), num_epochs=2, num_minibatches=4)
    first, second = (shuffle._indices(key, 24) for key in jax.random.split(KEY))
    assert first.shape == (4, 6)
    for order in (first, second):
        np.testing.assert_array_equal(jnp.sort(order.ravel()), jnp.arange(24))
    assert not np.array_equal(first, second)
