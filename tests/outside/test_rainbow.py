"""Rainbow (Hessel et al. 2018): all six extensions of DQN."""

import jax
import optax
import pytest

import lerax_fx as fx

from .environments import mean_returns, train_seeds


@pytest.mark.slow
def test_rainbow():
    env = fx.envs.TimeLimit("CartPole-v1", 100)
    agent = fx.categorical_q_agent(
        env,
        key=jax.random.key(0),
        widths=(32, 32),
        low=0.0,
        high=20.0,
        dueling=True,
        noisy=True,
    )
    learn = fx.chain(
        fx.distributional_td_target(n=3, double=True, discount=0.95, update=fx.polyak(0.02)),
        fx.minimize(fx.c51_loss(), fx.optimizer(optax.adam, 1e-3)),
    )
    importance = fx.schedule(optax.linear_schedule, 0.4, 1.0, 8_000)
    rainbow = fx.chain(
        # Noisy networks explore by themselves: no epsilon-greedy actions.
        fx.rollout(env, num_envs=8, num_steps=2),
        fx.replay(
            learn,
            capacity=8_000,
            batch_size=64,
            warmup=500,
            length=3,
            updates_per_step=2,
            sampling=fx.prioritized(exponent=0.5, importance=importance),
        ),
    )
    agents, _ = train_seeds(rainbow, agent, num_updates=600)
    assert mean_returns(env, agents).min() > 70  # a random policy: 22
