"""Random network distillation (Burda et al. 2019) on a grid whose reward PPO alone never finds."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import Grid, mean_returns, train_seeds


def outputs(network, observations):
    return jax.vmap(jax.vmap(network))(observations)


class RND(fx.Transform[fx.data.Estimates, fx.data.Estimates]):
    """Adds the advantages of an intrinsic reward, the error of predicting a random network."""

    weight: float = 0.01
    learning_rate: float = 3e-3

    def init(self, agent, data, key):
        inputs, keys = data().rollout.observation.shape[-1], jax.random.split(key, 3)
        target, predictor = (fx.agents.MLP((inputs, 32, 16), key=key) for key in keys[:2])
        trained = predictor, fx.agents.MLP((inputs, 32, 1), key=keys[2])
        return target, trained, optax.adam(self.learning_rate).init(trained), jnp.ones(())

    def update(self, agent, state, data, key):
        target, trained, optimizer_state, scale = state
        rollout, optimizer = data.rollout, optax.adam(self.learning_rate)

        def errors(predictor):
            both = [outputs(net, rollout.next_observation) for net in (target, predictor)]
            return jnp.mean((both[0] - both[1]) ** 2, axis=-1)

        def values(critic):
            return outputs(critic, rollout.observation)[..., 0]

        bonus = errors(trained[0])
        scale += 0.2 * (bonus.mean() - scale)
        # Intrinsic returns go on past the end of an episode (section 2.3): an end has no cost.
        never = jnp.zeros_like(rollout.done)
        value, last = values(trained[1]), jax.vmap(trained[1])(rollout.next_observation[:, -1])
        intrinsic = fx.gae.function(
            dataclasses.replace(
                rollout,
                reward=bonus / scale,
                value=value,
                next_value=jnp.append(value[:, 1:], last, axis=1),
                terminated=never,
                truncated=never,
            )
        )

        def loss(trained):
            return jnp.mean(errors(trained[0]) + (values(trained[1]) - intrinsic.target) ** 2)

        def learn(carry, _):
            updates, optimizer_state = optimizer.update(jax.grad(loss)(carry[0]), carry[1])
            return (optax.apply_updates(carry[0], updates), optimizer_state), None

        carry, _ = jax.lax.scan(learn, (trained, optimizer_state), length=8)
        advantage = data.advantage + self.weight * intrinsic.advantage
        out = dataclasses.replace(data, advantage=advantage)
        return fx.Step(agent, (target, *carry, scale), out, {"bonus": bonus.mean()})


def ppo(env, *explore):
    learn = fx.minimize(fx.ppo_loss(entropy_weight=0.01), fx.optimizer(optax.adam, 1e-3))
    learn = fx.chain(fx.normalize_advantage(), learn)
    learn = fx.minibatch(learn, num_epochs=4, num_minibatches=2)
    return fx.chain(fx.rollout(env, num_envs=16, num_steps=50), fx.gae(), *explore, learn)


@pytest.mark.slow
def test_rnd():
    env = Grid(size=8, limit=24, stairs=True)
    agent = fx.actor_critic(env, key=jax.random.key(0), width=32)
    alone, _ = train_seeds(ppo(env), agent, num_updates=200)
    assert mean_returns(env, alone, greedy=False).max() < 0.1
    curious, _ = train_seeds(ppo(env, RND()), agent, num_updates=200)
    assert mean_returns(env, curious, greedy=False).min() > 0.5
