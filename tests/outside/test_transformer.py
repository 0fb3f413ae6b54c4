"""A Transformer agent: attention over the last observations, trained by PPO to remember."""

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import Recall, mean_returns, train_seeds

WINDOW, WIDTH = 8, 32


class Transformer(fx.agents.AbstractActorCritic):
    embed: eqx.nn.Linear
    positions: jax.Array
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP
    inputs: int = eqx.field(static=True)

    def __init__(self, env, *, key):
        keys = jax.random.split(key, 4)
        self.inputs, actions = env.observation_space.flat_size, env.action_space.n
        self.embed = eqx.nn.Linear(self.inputs, WIDTH, key=keys[0])
        self.positions = 0.1 * jax.random.normal(keys[1], (WINDOW, WIDTH))
        self.attention = eqx.nn.MultiheadAttention(2, WIDTH, key=keys[2])
        self.norm = eqx.nn.LayerNorm(WIDTH)
        self.mlp = eqx.nn.MLP(WIDTH, actions + 1, WIDTH, 1, key=keys[3])

    def initial_memory(self):
        return jnp.zeros((WINDOW, self.inputs)), jnp.zeros(WINDOW, bool)

    def step(self, memory, observation, key):
        window = jnp.concatenate([memory[0][1:], observation[None]])
        seen = jnp.append(memory[1][1:], True)
        tokens = jax.vmap(self.embed)(window) + self.positions
        attended = self.attention(tokens[-1:], tokens, tokens, mask=seen[None])
        outputs = self.mlp(self.norm(tokens[-1] + attended[0]))
        distribution = distrax.Categorical(logits=outputs[1:])
        return (window, seen), fx.agents.Output(distribution, outputs[0])


@pytest.mark.slow
def test_transformer():
    env = Recall()
    agent = Transformer(env, key=jax.random.key(0))
    fx.check_agent(agent, env)
    ppo = fx.chain(
        fx.rollout(env, num_envs=32, num_steps=15),
        fx.gae(),
        fx.minibatch(
            fx.chain(
                fx.normalize_advantage(),
                fx.minimize(fx.ppo_loss(), fx.optimizer(optax.adam, 2e-3)),
            ),
            num_epochs=4,
            num_minibatches=2,
        ),
    )
    agents, _ = train_seeds(ppo, agent, num_updates=60)
    assert mean_returns(env, agents).min() > 0.9  # without memory: 0.25
