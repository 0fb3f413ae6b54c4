"""Behaviour cloning, and implicit Q-learning (Kostrikov et al. 2022), from fixed data."""

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import Grid, mean_returns, train_seeds

ENV = Grid(size=5, limit=20)


class Agent(fx.agents.AbstractFeedforward):
    actor: eqx.nn.MLP
    critic: eqx.nn.MLP
    value: eqx.nn.MLP

    def __init__(self, *, key):
        keys = jax.random.split(key, 3)
        size = ENV.observation_space.flat_size
        self.actor, self.critic = (eqx.nn.MLP(size, 4, 32, 2, key=key) for key in keys[:2])
        self.value = eqx.nn.MLP(size, "scalar", 32, 2, key=keys[2])

    def output(self, observation, key):
        distribution = distrax.Categorical(logits=self.actor(observation))
        return fx.agents.Output(distribution, self.value(observation))


def taken(network, data):
    values = jax.vmap(jax.vmap(network))(data.observation)
    return jnp.take_along_axis(values, data.action[..., None], -1)[..., 0]


def log_prob(agent, data):
    return taken(lambda x: jax.nn.log_softmax(agent.actor(x)), data)


def cloning_loss(agent, data: fx.data.Transitions, key):
    return -log_prob(agent, data).mean()


def value_loss(agent, data: fx.data.Transitions, key):
    """Expectile regression (eq. 5)."""
    difference = taken(agent.critic, data) - jax.vmap(jax.vmap(agent.value))(data.observation)
    return jnp.mean(jnp.where(difference > 0, 0.9, 0.1) * difference**2)


def critic_loss(agent, data: fx.data.Transitions, key):
    following = jax.vmap(jax.vmap(agent.value))(data.next_observation)
    target = data.reward + 0.95 * jnp.where(data.terminated, 0.0, following)
    return jnp.mean((taken(agent.critic, data) - target) ** 2)


def actor_loss(agent, data: fx.data.Transitions, key):
    """Advantage-weighted regression (eq. 7)."""
    advantage = taken(agent.critic, data) - jax.vmap(jax.vmap(agent.value))(data.observation)
    weight = jnp.minimum(jnp.exp(30.0 * jax.lax.stop_gradient(advantage)), 100.0)
    return -jnp.mean(weight * log_prob(agent, data))


def collect(agent):
    rollout = fx.chain(fx.rollout(ENV, num_envs=64, num_steps=100))
    state = rollout.init(agent, lambda: None, jax.random.key(1))
    data = eqx.filter_jit(rollout.update)(agent, state, None, jax.random.key(2)).out
    steps = jax.tree.map(lambda x: x.reshape(-1, 1, *x.shape[2:]), fx.data.Transitions.of(data))
    return fx.dataset(steps, batch_size=128)


@pytest.mark.slow
def test_offline():
    agent, adam = Agent(key=jax.random.key(0)), fx.optimizer(optax.adam, 1e-3)
    iql = fx.chain(
        collect(agent),
        value=fx.minimize(value_loss, adam, part="value"),
        critic=fx.minimize(critic_loss, adam, part="critic"),
        actor=fx.minimize(actor_loss, adam, part="actor"),
    )
    cloned, _ = train_seeds(
        fx.chain(collect(agent), fx.minimize(cloning_loss, adam, part="actor")),
        agent,
        num_updates=1_000,
    )
    assert mean_returns(ENV, cloned, greedy=False).max() < 0.5  # as good as the data
    agents, _ = train_seeds(iql, agent, num_updates=3_000)
    assert mean_returns(ENV, agents, greedy=False).min() > 0.8
    expert = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, agents)
    cloning = fx.chain(collect(expert), fx.minimize(cloning_loss, adam, part="actor"))
    cloned, _ = train_seeds(cloning, agent, num_updates=1_000)
    assert mean_returns(ENV, cloned, greedy=False).min() > 0.8
