"""Behaviour cloning (Pomerleau 1991): maximum likelihood of an expert's actions, from a dataset."""

import equinox as eqx
import jax
import optax
import pytest

import lerax_fx as fx

from .environments import Grid, mean_returns, train_seeds

ENV = Grid(size=5, limit=20)


def cloning_loss(agent, data: fx.data.Transitions, key):
    def one(observation, action):
        return agent.output(observation, key).distribution.log_prob(action)

    return -jax.vmap(jax.vmap(one))(data.observation, data.action).mean()


def cloning(expert):
    rollout = fx.chain(fx.rollout(ENV, num_envs=32, num_steps=100))
    state = rollout.init(expert, lambda: None, jax.random.key(1))
    data = eqx.filter_jit(rollout.update)(expert, state, None, jax.random.key(2)).out
    steps = jax.tree.map(lambda x: x.reshape(-1, 1, *x.shape[2:]), fx.data.Transitions.of(data))
    learn = fx.minimize(cloning_loss, fx.optimizer(optax.adam, 1e-3))
    return fx.chain(fx.dataset(steps, batch_size=128), learn)


@pytest.mark.slow
def test_cloning():
    random, fresh = (fx.actor_critic(ENV, key=jax.random.key(k), width=32) for k in range(2))
    learn = fx.minimize(fx.ppo_loss(entropy_weight=0.01), fx.optimizer(optax.adam, 2e-3))
    learn = fx.minibatch(fx.chain(fx.normalize_advantage(), learn), num_epochs=4, num_minibatches=2)
    ppo = fx.chain(fx.rollout(ENV, num_envs=16, num_steps=40), fx.gae(discount=0.95), learn)
    expert, _ = fx.anakin_loop(ppo, 100)(random, jax.random.key(3))
    clones, _ = train_seeds(cloning(random), fresh, num_updates=500)
    assert mean_returns(ENV, clones, greedy=False).max() < 0.3  # as good as the data
    clones, _ = train_seeds(cloning(expert), fresh, num_updates=500)
    assert mean_returns(ENV, clones, greedy=False).min() > 0.8
