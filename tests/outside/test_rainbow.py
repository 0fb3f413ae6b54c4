"""Rainbow (Hessel et al. 2018): all six extensions of DQN."""

import equinox as eqx
import jax
import optax
import pytest

import lerax_fx as fx

from .environments import mean_returns, train_seeds

ATOMS, WIDTH = 51, 32


class NoisyDueling(eqx.Module):
    """The logits of each action: of the value, plus of the advantage less the mean of all."""

    hidden: list[fx.agents.NoisyLinear]
    value: fx.agents.NoisyLinear
    advantage: fx.agents.NoisyLinear

    def __init__(self, inputs, actions, *, key):
        keys = jax.random.split(key, 4)
        sizes = [(inputs, WIDTH), (WIDTH, WIDTH), (WIDTH, ATOMS), (WIDTH, actions * ATOMS)]
        layers = [fx.agents.NoisyLinear(*sizes[i], key=keys[i]) for i in range(4)]
        self.hidden, self.value, self.advantage = layers[:2], *layers[2:]

    def __call__(self, x):
        for layer in self.hidden:
            x = jax.nn.relu(layer(x))
        advantage = self.advantage(x).reshape(-1, ATOMS)
        return (self.value(x) + advantage - advantage.mean(axis=0)).ravel()


@pytest.mark.slow
def test_rainbow():
    env = fx.envs.TimeLimit("CartPole-v1", 100)
    agent = fx.agents.DistributionalQAgent(
        fx.agents.vector_encoding("Rainbow", env.observation_space),
        NoisyDueling(env.observation_space.flat_size, env.action_space.n, key=jax.random.key(0)),
        env.action_space.n,
        ATOMS,
        support=(0.0, 20.0),  # 1 a step, discounted by 0.95
    )
    rate = fx.schedule(optax.linear_schedule, 1e-3, 0.0, 1_800)
    learn = fx.chain(
        fx.distributional_td_target(n=3, double=True, discount=0.95, update=fx.polyak(0.02)),
        fx.minimize(fx.c51_loss(), fx.optimizer(optax.adam, rate)),
    )
    importance = fx.schedule(optax.linear_schedule, 0.4, 1.0, 14_400)
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
    agents, _ = train_seeds(rainbow, agent, num_updates=900)
    assert mean_returns(env, agents).min() > 70  # a random policy: 22
