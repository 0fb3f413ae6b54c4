"""Implicit Q-learning (Kostrikov et al. 2022) from the steps of a random policy."""

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

    def output(self, observation, key):
        distribution = distrax.Categorical(logits=self.actor(observation))
        return fx.agents.Output(distribution, self.value(observation))


class Offline(eqx.Module):
    """Steps, and the target critic's value of their actions."""

    steps: fx.data.Transitions
    q: jax.Array


def each(network, observation):
    return jax.vmap(jax.vmap(network))(observation)


def taken(network, steps):
    values = each(network, steps.observation)
    return jnp.take_along_axis(values, steps.action[..., None], -1)[..., 0]


class TargetCritic(fx.Transform[fx.data.Transitions, Offline]):
    step_size: float = 0.01

    def init(self, agent, data, key):
        return eqx.filter(agent.critic, eqx.is_array)

    def update(self, agent, state, data, key):
        arrays, rest = eqx.partition(agent.critic, eqx.is_array)
        state = optax.incremental_update(arrays, state, self.step_size)
        return fx.Step(agent, state, Offline(data, taken(eqx.combine(state, rest), data)))


def value_loss(agent, data: Offline, key):
    """Expectile regression (eq. 5)."""
    difference = data.q - each(agent.value, data.steps.observation)
    return jnp.mean(jnp.where(difference > 0, 0.9, 0.1) * difference**2)


def critic_loss(agent, data: Offline, key):
    following = each(agent.value, data.steps.next_observation)
    target = data.steps.reward + 0.9 * jnp.where(data.steps.terminated, 0.0, following)
    return jnp.mean((taken(agent.critic, data.steps) - jax.lax.stop_gradient(target)) ** 2)


def actor_loss(temperature):
    """Advantage-weighted regression (eq. 7); with a temperature of 0, behaviour cloning."""

    def loss(agent, data: Offline, key):
        advantage = data.q - each(agent.value, data.steps.observation)
        weight = jnp.minimum(jnp.exp(temperature * advantage), 100.0)
        log_prob = taken(lambda x: jax.nn.log_softmax(agent.actor(x)), data.steps)
        return -jnp.mean(jax.lax.stop_gradient(weight) * log_prob)

    return loss


def iql(agent, temperature, num_updates):
    rollout = fx.chain(fx.rollout(ENV, num_envs=64, num_steps=300))
    state = rollout.init(agent, lambda: None, jax.random.key(1))
    data = eqx.filter_jit(rollout.update)(agent, state, None, jax.random.key(2)).out
    steps = jax.tree.map(lambda x: x.reshape(-1, 1, *x.shape[2:]), fx.data.Transitions.of(data))
    adam = fx.optimizer(optax.adam, fx.schedule(optax.cosine_decay_schedule, 1e-3, num_updates))
    return fx.chain(
        fx.dataset(steps, batch_size=256),
        TargetCritic(),
        value=fx.minimize(value_loss, adam, part="value"),
        critic=fx.minimize(critic_loss, adam, part="critic"),
        actor=fx.minimize(actor_loss(temperature), adam, part="actor"),
    )


@pytest.mark.slow
def test_iql():
    sizes, keys = (4, 4, "scalar"), jax.random.split(jax.random.key(0), 3)
    agent = Agent(*(eqx.nn.MLP(10, sizes[i], 32, 2, key=keys[i]) for i in range(3)))
    cloned, _ = train_seeds(iql(agent, 0.0, 1_000), agent, num_updates=1_000)
    assert mean_returns(ENV, cloned, greedy=False).max() < 0.3  # as good as the data
    agents, _ = train_seeds(iql(agent, 30.0, 4_000), agent, num_updates=4_000)
    assert mean_returns(ENV, agents, greedy=False).min() > 0.8
