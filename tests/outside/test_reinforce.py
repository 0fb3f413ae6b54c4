"""REINFORCE with a baseline (Williams 1992; Sutton & Barto 2018, section 13.4)."""

import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import mean_returns, train_seeds


@fx.transform
def returns_to_go(
    rollout: fx.data.Rollout, *, discount: fx.typing.Fraction = 0.99
) -> fx.data.Estimates:
    """The discounted rewards until the end of each episode; the baseline's value at a cut."""

    def add(following, step):
        reward, done, terminated, next_value = step
        following = jnp.where(done, jnp.where(terminated, 0.0, next_value), following)
        following = reward + discount * following
        return following, following

    def one(rollout):
        steps = rollout.reward, rollout.done, rollout.terminated, rollout.next_value
        return jax.lax.scan(add, rollout.next_value[-1], steps, reverse=True)[1]

    target = jax.vmap(one)(rollout)
    return fx.data.Estimates(rollout, target - rollout.value, target)


@pytest.mark.slow
def test_reinforce():
    env = fx.make("CartPole-v1")
    agent = fx.actor_critic(env, key=jax.random.key(0), width=32)
    loss = fx.policy_gradient() + 0.5 * fx.value_loss()
    reinforce = fx.chain(
        fx.rollout(env, num_envs=16, num_steps=64),
        returns_to_go(discount=0.98),
        fx.normalize_advantage(),
        fx.minimize(loss, fx.optimizer(optax.adam, fx.anneal(5e-3, num_updates=500))),
    )
    agents, _ = train_seeds(reinforce, agent, num_updates=500, key=8)
    assert mean_returns(env, agents).min() > 200  # a random policy: 22
