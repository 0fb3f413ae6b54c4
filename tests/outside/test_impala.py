"""IMPALA (Espeholt et al. 2018): V-trace corrects for actors that lag behind the learner."""

import jax
import optax
import pytest

import lerax_fx as fx

from .environments import mean_returns, train_seeds


@pytest.mark.slow
def test_impala():
    env = fx.make("CartPole-v1")
    agent = fx.actor_critic(env, key=jax.random.key(0), width=32)
    loss = fx.policy_gradient() + 0.5 * fx.value_loss() - 0.01 * fx.entropy()
    impala = fx.chain(
        fx.lagged(fx.rollout(env, num_envs=16, num_steps=32), period=4),
        fx.recompute_values(),
        fx.vtrace(discount=0.98),
        fx.normalize_advantage(),
        fx.minimize(loss, fx.optimizer(optax.rmsprop, 2e-3, decay=0.99)),
    )
    agents, _ = train_seeds(impala, agent, num_updates=300)
    assert mean_returns(env, agents).min() > 150  # a random policy: 22
