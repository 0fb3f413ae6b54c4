"""Phasic policy gradient (Cobbe et al. 2021): PPO, and now and then an auxiliary phase."""

from typing import Any

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import mean_returns, train_seeds


class PPGOutput(fx.agents.Output):
    auxiliary: jax.Array


class PPGAgent(fx.agents.AbstractFeedforward):
    """The policy's network has a value head of its own, which the auxiliary phase trains."""

    actor: eqx.nn.MLP
    critic: eqx.nn.MLP

    def output(self, observation, key):
        *logits, auxiliary = self.actor(observation)
        distribution = distrax.Categorical(logits=jnp.stack(logits))
        return PPGOutput(distribution, self.critic(observation), auxiliary)


class Auxiliary(eqx.Module):
    """The targets of all values, and the policy to stay near to."""

    observation: Any
    target: jax.Array
    old: Any


def outputs(agent, observation, key):
    return jax.vmap(jax.vmap(lambda x: agent.output(x, key)))(observation)


@fx.transform
def with_policy(agent, data: fx.data.Estimates, key) -> Auxiliary:
    observation = data.rollout.observation
    return Auxiliary(observation, data.target, outputs(agent, observation, key).distribution)


def auxiliary_loss(agent, data: Auxiliary, key):
    output = outputs(agent, data.observation, key)
    values = (output.value - data.target) ** 2 + (output.auxiliary - data.target) ** 2
    return jnp.mean(0.5 * values + data.old.kl_divergence(output.distribution))


@pytest.mark.slow
def test_ppg():
    env = fx.make("CartPole-v1")
    keys = jax.random.split(jax.random.key(0))
    actor = eqx.nn.MLP(4, 3, 32, 2, jnp.tanh, key=keys[0])
    agent = PPGAgent(actor, eqx.nn.MLP(4, "scalar", 32, 2, jnp.tanh, key=keys[1]))
    adam = fx.optimizer(optax.adam, 2e-3)
    policy = fx.chain(fx.normalize_advantage(), fx.minimize(fx.ppo_loss(), adam))
    auxiliary = fx.minimize(auxiliary_loss, adam)
    ppg = fx.chain(
        fx.rollout(env, num_envs=16, num_steps=32),
        fx.gae(),
        policy=fx.minibatch(policy, num_epochs=2, num_minibatches=4),
        auxiliary=fx.accumulate(
            8, fx.chain(with_policy(), fx.minibatch(auxiliary, num_epochs=2, num_minibatches=8))
        ),
    )
    agents, metrics = train_seeds(ppg, agent, num_updates=96)
    assert jnp.isfinite(metrics["auxiliary/minimize/loss"]).sum(axis=1).min() == 12
    assert mean_returns(env, agents).min() > 150  # a random policy: 22
