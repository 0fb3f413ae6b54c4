"""R2D2 (Kapturowski et al. 2019): recurrent double DQN, burn-in, n steps, prioritised sequences."""

import jax
import optax
import pytest

import lerax_fx as fx

from .environments import mean_returns, train_seeds


@pytest.mark.slow
def test_r2d2():
    env = fx.envs.TimeLimit(fx.envs.mask_velocities("CartPole-v1"), 100)
    agent = fx.agents.gru_q_agent(env, key=jax.random.key(0), width=32)
    epsilon = fx.schedule(optax.linear_schedule, 1.0, 0.1, 15_000)
    learn = fx.chain(
        fx.burn_in(10),
        fx.td_target(n=3, double=True, discount=0.95, update=fx.polyak(0.01)),
        fx.minimize(fx.q_loss(huber=1.0), fx.optimizer(optax.adam, 1e-3)),
    )
    r2d2 = fx.chain(
        fx.rollout(env, num_envs=8, num_steps=10, explore=fx.epsilon_greedy(epsilon)),
        fx.replay(
            learn,
            capacity=20_000,
            batch_size=32,
            warmup=1_000,
            length=30,
            updates_per_step=3,
            sampling=fx.prioritized(exponent=0.5, importance=1.0),
        ),
    )
    agents, _ = train_seeds(r2d2, agent, num_updates=600, seeds=2)
    assert mean_returns(env, agents).min() > 60  # a random policy: 22
