"""PPO with an adaptive KL penalty (Schulman et al. 2017, section 4)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import mean_returns, train_seeds


class Penalized(eqx.Module):
    """Estimates, the policy that acted, and the weight of the divergence from it."""

    estimates: fx.data.Estimates
    old: Any
    beta: jax.Array


def loss(agent, data, key):
    output = fx.losses.forward(agent, data.estimates, key)
    rollout, kl = data.estimates.rollout, data.old.kl_divergence(output.distribution)
    ratio = jnp.exp(output.log_prob(rollout.action) - rollout.log_prob)
    policy = jnp.mean(data.beta * kl - ratio * data.estimates.advantage)
    value = 0.5 * jnp.mean((output.value - data.estimates.target) ** 2)
    return policy + 0.5 * value, {"kl": kl.mean()}


class AdaptiveKL(fx.Wrapper[fx.data.Estimates, fx.data.Estimates]):
    """Runs `inner` with the penalty, and adapts it by the divergence that came of it."""

    target: float = 0.01

    def init(self, agent, data, key):
        def penalized():
            old = jax.eval_shape(fx.losses.forward, agent, data(), key).distribution
            return Penalized(data(), old, data().advantage)

        return jnp.ones(()), self.inner.init(agent, penalized, key)

    def update(self, agent, state, data, key):
        beta, inner = state
        old = fx.losses.forward(agent, data, key).distribution
        penalized = Penalized(data, old, jnp.full_like(data.advantage, beta))
        step = self.inner.update(agent, inner, penalized, key)
        new = fx.losses.forward(step.agent, data, key).distribution
        kl = old.kl_divergence(new).mean()
        beta = jnp.where(kl > 1.5 * self.target, 2 * beta, beta)
        beta = jnp.where(kl < self.target / 1.5, beta / 2, beta)
        metrics = {**step.metrics, "beta": beta, "kl": kl}
        return fx.Step(step.agent, (beta, step.state), data, metrics)


@pytest.mark.slow
def test_adaptive_kl():
    env = fx.make("CartPole-v1")
    agent = fx.actor_critic(env, key=jax.random.key(0), width=32)
    learn = fx.minimize(loss, fx.optimizer(optax.adam, 2e-3))
    ppo = fx.chain(
        fx.rollout(env, num_envs=16, num_steps=64),
        fx.gae(),
        fx.normalize_advantage(),
        AdaptiveKL(fx.minibatch(learn, num_epochs=4, num_minibatches=4)),
    )
    agents, metrics = train_seeds(ppo, agent, num_updates=90)
    assert mean_returns(env, agents).min() > 200  # a random policy: 22
    assert 0.003 < jnp.median(metrics["adaptive_kl/kl"][:, 20:]) < 0.03
