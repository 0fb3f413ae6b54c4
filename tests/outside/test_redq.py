"""REDQ (Chen et al. 2021): SAC with many critics, of which targets take a random two."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import Point, mean_returns, train_seeds


class REDQTarget(fx.Transform[fx.data.Transitions, fx.data.Targets]):
    """Soft targets from the smallest of a random subset of the target critics."""

    discount: float = 0.95
    step_size: float = 0.02
    subset: int = eqx.field(static=True, default=2)

    def init(self, agent, data, key):
        return eqx.filter(agent.critic, eqx.is_array)

    def update(self, agent, state, data, key):
        arrays, rest = eqx.partition(agent.critic, eqx.is_array)
        state = optax.incremental_update(arrays, state, self.step_size)
        target = eqx.tree_at(lambda agent: agent.critic, agent, eqx.combine(state, rest))
        subset_key, value_key = jax.random.split(key)

        def value(observation, key):
            policy = agent.policy(observation, key)
            action, log_prob = policy.sample_and_log_prob(seed=key)
            values = target.q_values(observation, action, key)
            chosen = jax.random.choice(subset_key, values, (self.subset,), replace=False)
            return chosen.min() - jnp.exp(agent.log_temperature) * log_prob

        keys = jax.random.split(value_key, data.reward.shape)
        values = jax.vmap(jax.vmap(value))(data.next_observation, keys)
        returns = data.reward + self.discount * jnp.where(data.terminated, 0.0, values)
        return fx.Step(agent, state, fx.data.Targets(data.observation, data.action, returns))


def policy_loss(agent, data, key):
    """As SAC's, by the mean of all critics."""

    def one(observation, key):
        action, log_prob = agent.policy(observation, key).sample_and_log_prob(seed=key)
        value = agent.q_values(observation, action, key).mean()
        return jnp.exp(agent.log_temperature) * log_prob - value

    keys = jax.random.split(key, data.target.shape)
    return jnp.mean(jax.vmap(jax.vmap(one))(data.observation, keys))


@pytest.mark.slow
def test_redq():
    env = Point()
    agent = fx.soft_actor_critic(env, key=jax.random.key(0), widths=(32, 32), num_critics=5)
    adam = fx.optimizer(optax.adam, 1e-3)
    learn = fx.chain(
        REDQTarget(),
        critic=fx.minimize(fx.q_critic_loss(), adam, part="critic"),
        actor=fx.minimize(policy_loss, adam, part="actor"),
        temperature=fx.minimize(fx.temperature_loss(), adam, part="log_temperature"),
    )
    replay = fx.replay(learn, capacity=3_000, batch_size=64, warmup=300, updates_per_step=5)
    redq = fx.chain(fx.rollout(env, num_envs=1, num_steps=2), replay)
    agents, _ = train_seeds(redq, agent, num_updates=600, seeds=2)
    assert mean_returns(env, agents).min() > -6.0  # a random policy: -85, no push at all: -47
