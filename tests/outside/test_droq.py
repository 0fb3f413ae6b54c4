"""DroQ (Hiraoka et al. 2022): SAC whose critics have dropout and layer normalisation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import Point, mean_returns, train_seeds

WIDTH = 32


class DropoutCritic(eqx.Module):
    layers: list[eqx.nn.Linear]
    norm: eqx.nn.LayerNorm
    dropout: eqx.nn.Dropout

    def __init__(self, inputs, *, key):
        keys = jax.random.split(key, 3)
        sizes = [inputs, WIDTH, WIDTH, 1]
        self.layers = [eqx.nn.Linear(*sizes[i : i + 2], key=keys[i]) for i in range(3)]
        self.norm = eqx.nn.LayerNorm(WIDTH)
        self.dropout = eqx.nn.Dropout(0.01)

    def __call__(self, x, key):
        for layer, drop_key in zip(self.layers[:-1], jax.random.split(key), strict=True):
            x = jax.nn.relu(self.norm(self.dropout(layer(x), key=drop_key)))
        return self.layers[-1](x)[0]


class DroQ(fx.agents.AbstractFeedforward):
    actor: eqx.nn.MLP
    critic: tuple[DropoutCritic, DropoutCritic]
    head: fx.agents.StateDependentGaussianPolicy
    log_temperature: jax.Array

    def __init__(self, env, *, key):
        keys = jax.random.split(key, 3)
        size = env.observation_space.flat_size
        self.head = fx.agents.StateDependentGaussianPolicy(
            fx.agents.action_bounds("DroQ", env.action_space)
        )
        self.actor = eqx.nn.MLP(size, self.head.parameters, WIDTH, 2, key=keys[0])
        inputs = size + self.bounds.size
        self.critic = tuple(DropoutCritic(inputs, key=key) for key in keys[1:])
        self.log_temperature = jnp.zeros(())

    @property
    def bounds(self):
        return self.head.bounds

    def policy(self, observation, key):
        return self.head(self.actor(observation))

    def q_values(self, observation, action, key):
        inputs = jnp.append(observation, self.bounds.unscaled(action))
        keys = jax.random.split(key, len(self.critic))
        return jnp.stack([self.critic[i](inputs, keys[i]) for i in range(2)])

    def output(self, observation, key):
        distribution = self.policy(observation, key)
        value = self.q_values(observation, distribution.mode(), key).min()
        return fx.agents.Output(distribution, value)


@pytest.mark.slow
def test_droq():
    env = Point()
    agent = DroQ(env, key=jax.random.key(0))
    fx.check_agent(agent, env)
    adam = fx.optimizer(optax.adam, 1e-3)
    learn = fx.chain(
        fx.sac_target(discount=0.95, update=fx.polyak(0.02)),
        critic=fx.minimize(fx.q_critic_loss(), adam, part="critic"),
        actor=fx.minimize(fx.sac_policy_loss(), adam, part="actor"),
        temperature=fx.minimize(fx.temperature_loss(), adam, part="log_temperature"),
    )
    replay = fx.replay(learn, capacity=3_000, batch_size=64, warmup=300, updates_per_step=5)
    droq = fx.chain(fx.rollout(env, num_envs=1, num_steps=2), replay)
    agents, _ = train_seeds(droq, agent, num_updates=600, seeds=2)
    assert mean_returns(env, agents).min() > -6.0  # a random policy: -85, no push at all: -47
