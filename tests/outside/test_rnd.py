"""Random network distillation (Burda et al. 2019) on a grid whose reward PPO alone never finds."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import Grid, mean_returns, train_seeds


class RND(fx.Transform[fx.data.Rollout, fx.data.Rollout]):
    """Adds the error of predicting a random network's features, over its moving average."""

    weight: float = 0.005
    learning_rate: float = 3e-3
    features: int = eqx.field(static=True, default=16)

    def init(self, agent, data, key):
        inputs = data().observation.shape[-1]
        sizes = (inputs, 32, self.features)
        target, predictor = (fx.agents.MLP(sizes, key=k) for k in jax.random.split(key))
        optimizer = optax.adam(self.learning_rate).init(predictor)
        return target, predictor, optimizer, jnp.ones(())

    def update(self, agent, state, data, key):
        target, predictor, optimizer_state, scale = state
        observations = data.next_observation

        def errors(predictor):
            both = [jax.vmap(jax.vmap(net))(observations) for net in (target, predictor)]
            return jnp.mean((both[0] - both[1]) ** 2, axis=-1)

        bonus = errors(predictor)
        scale += 0.2 * (bonus.mean() - scale)
        reward = data.reward + self.weight * bonus / scale
        optimizer = optax.adam(self.learning_rate)

        def learn(carry, _):
            predictor, optimizer_state = carry
            gradient = jax.grad(lambda predictor: errors(predictor).mean())(predictor)
            updates, optimizer_state = optimizer.update(gradient, optimizer_state)
            return (optax.apply_updates(predictor, updates), optimizer_state), None

        carry, _ = jax.lax.scan(learn, (predictor, optimizer_state), length=8)
        state = target, *carry, scale
        out = dataclasses.replace(data, reward=reward)
        return fx.Step(agent, state, out, {"bonus": bonus.mean()})


def ppo(env, *explore):
    learn = fx.minimize(fx.ppo_loss(entropy_weight=0.01), fx.optimizer(optax.adam, 1e-3))
    learn = fx.chain(fx.normalize_advantage(), learn)
    learn = fx.minibatch(learn, num_epochs=4, num_minibatches=2)
    return fx.chain(fx.rollout(env, num_envs=16, num_steps=50), *explore, fx.gae(), learn)


@pytest.mark.slow
def test_rnd():
    env = Grid(size=6, limit=20, stairs=True)
    agent = fx.actor_critic(env, key=jax.random.key(0), width=32)
    alone, _ = train_seeds(ppo(env), agent, num_updates=250)
    assert mean_returns(env, alone, greedy=False).max() < 0.1
    curious, _ = train_seeds(ppo(env, RND()), agent, num_updates=250)
    assert mean_returns(env, curious, greedy=False).min() > 0.5
