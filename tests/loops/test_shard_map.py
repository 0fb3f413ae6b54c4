"""The training loop and evaluation on the devices of a mesh, by `jax.shard_map`."""

import jax
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, PartitionSpec

import lerax_fx as fx

KEY = jax.random.key(0)
# One device: several in one process can deadlock in XLA's CPU backend.
MESH = Mesh(np.array(jax.devices()[:1]), ("seeds",))
AGENT = fx.q_agent("CartPole-v1", key=KEY, widths=(4,))


def on_policy():
    learn = fx.minimize(fx.ppo_loss(), optax.adam(1e-3))
    minibatches = fx.minibatch(learn, num_epochs=1, num_minibatches=2)
    return fx.actor_critic("CartPole-v1", key=KEY), 2, (fx.gae(), minibatches)


def off_policy():
    learn = fx.repeat(2, fx.chain(fx.td_target(), fx.minimize(fx.q_loss(), optax.adam(1e-3))))
    return AGENT, 4, (fx.replay(learn, capacity=64, batch_size=4, warmup=8),)


def with_running_statistics():
    learn = fx.minimize(fx.value_loss(), optax.adam(1e-3))
    return fx.actor_critic("CartPole-v1", key=KEY), 2, (fx.vtrace(), learn)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [on_policy, off_policy, with_running_statistics])
def test_each_device_trains_an_agent_of_its_own(algorithm):
    agent, num_updates, stages = algorithm()
    env = fx.make("CartPole-v1")
    if algorithm is with_running_statistics:
        env = fx.envs.NormalizeReward(env)
    rollout = fx.rollout(env, num_envs=2, num_steps=2)
    assert_sharded_is_vmapped(fx.anakin_loop(fx.chain(rollout, *stages), num_updates), agent)


def test_each_device_evaluates_by_a_key_of_its_own():
    def evaluate(agent, key):
        return fx.evaluate("CartPole-v1", agent, key, num_episodes=2, max_steps=4)

    assert_sharded_is_vmapped(evaluate, AGENT)


def assert_sharded_is_vmapped(run, agent):
    """The agent on all devices, a key for each."""
    keys, over_keys = jax.random.split(jax.random.key(1), 1), jax.vmap(run, in_axes=(None, 0))
    by_key = PartitionSpec("seeds")
    sharded = jax.shard_map(
        over_keys, mesh=MESH, in_specs=(PartitionSpec(), by_key), out_specs=by_key
    )
    found, expected = jax.jit(sharded)(agent, keys), over_keys(agent, keys)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
