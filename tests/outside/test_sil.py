"""Self-imitation learning (Oh et al. 2018): actor-critic, and a replay of what went well."""

import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import Grid, mean_returns, train_seeds


def self_imitation(agent, data: fx.data.Estimates, key):
    """Only returns above the value count (eqs. 2 and 3)."""
    output = fx.losses.forward(agent, data, key)
    better = jnp.maximum(data.target - output.value, 0.0)
    log_prob = output.log_prob(data.rollout.action)
    policy = -jnp.mean(log_prob * jax.lax.stop_gradient(better))
    return policy + 0.5 * jnp.mean(0.5 * better**2), {"better": better.mean()}


@pytest.mark.slow
def test_sil():
    env = Grid(size=5, limit=20)
    agent = fx.actor_critic(env, key=jax.random.key(0), width=32)
    adam = fx.optimizer(optax.adam, 1e-3)
    a2c = fx.policy_gradient() + 0.5 * fx.value_loss() - 0.02 * fx.entropy()
    sil = fx.chain(
        fx.rollout(env, num_envs=16, num_steps=20),
        fx.n_step_returns(n=20, discount=0.95),
        fx.minimize(a2c, adam),
        imitate=fx.replay(
            fx.minimize(self_imitation, adam), capacity=6_400, batch_size=128, updates_per_step=2
        ),
    )
    agents, metrics = train_seeds(sil, agent, num_updates=250)
    assert mean_returns(env, agents, greedy=False).min() > 0.9
    assert metrics["episode_return"][:, 0].max() < 0.5  # of the first policy
