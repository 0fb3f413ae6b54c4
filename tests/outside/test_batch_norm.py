"""DQN with batch normalisation (Ioffe & Szegedy 2015) of inputs and hidden layer, as DDPG has it
(Lillicrap et al. 2016), where observations are in unlike units: without it, it often fails.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import Grid, mean_returns, train_seeds

WIDTH = 32


class Coordinates(Grid):
    """The grid, seen as two numbers that are far from 0 and of unlike scales."""

    @property
    def observation_space(self):
        return fx.spaces.Box(-jnp.inf, jnp.inf, (2,))

    def observation(self, state, *, key):
        return 1000.0 + state[0] * jnp.array([1.0, 100.0])


class QNetwork(fx.agents.AbstractFeedforward):
    first: eqx.nn.Linear
    last: eqx.nn.MLP

    def __init__(self, *, key):
        keys = jax.random.split(key)
        self.first = eqx.nn.Linear(2, WIDTH, key=keys[0])
        self.last = eqx.nn.MLP(WIDTH, 4, WIDTH, 1, key=keys[1])

    def output(self, observation, key):
        return fx.agents.greedy_output(self.last(jax.nn.relu(self.first(observation))))


class BatchNormQNetwork(QNetwork):
    inputs: fx.agents.BatchNorm
    hidden: fx.agents.BatchNorm

    def __init__(self, *, key):
        super().__init__(key=key)
        self.inputs, self.hidden = (fx.agents.BatchNorm(n, momentum=0.95) for n in (2, WIDTH))

    def output(self, observation, key):
        hidden = self.hidden(self.first(self.inputs(observation)))
        return fx.agents.greedy_output(self.last(jax.nn.relu(hidden)))

    def update_statistics(self, observations):
        inputs = self.inputs.update(observations)
        hidden = self.hidden.update(jax.vmap(lambda x: self.first(inputs(x)))(observations))
        return eqx.tree_at(lambda agent: (agent.inputs, agent.hidden), self, (inputs, hidden))


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "learns"), [(QNetwork, False), (BatchNormQNetwork, True)])
def test_batch_norm(agent, learns):
    env = Coordinates(size=5, limit=20)
    epsilon = fx.schedule(optax.linear_schedule, 1.0, 0.1, 20_000)
    learn = fx.chain(
        fx.td_target(n=3, double=True, discount=0.95, update=fx.polyak(0.02)),
        fx.minimize(fx.q_loss(), fx.optimizer(optax.adam, 1e-3)),
    )
    replay = fx.replay(
        learn, capacity=20_000, batch_size=64, warmup=500, length=3, updates_per_step=4
    )
    collect = fx.rollout(env, num_envs=16, num_steps=4, explore=fx.epsilon_greedy(epsilon))
    statistics = [fx.update_statistics()] if learns else []
    dqn = fx.chain(collect, *statistics, replay)
    agents, _ = train_seeds(dqn, agent(key=jax.random.key(0)), num_updates=600)
    assert (mean_returns(env, agents) > 0.9).all() == learns
