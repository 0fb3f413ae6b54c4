"""A grid that is seen as a Dict, whose action mask forbids to walk into walls: PPO and DQN."""

import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx

from .environments import MOVES, mean_returns, train_seeds


class Rooms(fx.Env):
    """From one corner to another around walls, for a reward of 1; a forbidden step costs 100."""

    walls: tuple[str, ...] = ("..#..", "..#..", "....#", ".#...", ".#...")
    action_space = fx.spaces.Discrete(4)

    @property
    def observation_space(self):
        one_hot = fx.spaces.Box(0.0, 1.0, (5,))
        place = fx.spaces.Dict({"row": one_hot, "column": one_hot})
        return fx.spaces.Dict({"place": place, "allowed": fx.spaces.MultiBinary(4)})

    def is_free(self, place):
        free = jnp.array([[tile == "." for tile in row] for row in self.walls])
        return jnp.pad(free, 1)[place[0] + 1, place[1] + 1]

    def initial(self, *, key):
        return jnp.zeros(2, jnp.int32)

    def transition(self, state, action, *, key):
        # A forbidden step is not made, so that the reward sees that nothing has moved.
        ahead = state + MOVES[action]
        return jnp.where(self.is_free(ahead), ahead, state)

    def observation(self, state, *, key):
        row, column = jax.nn.one_hot(state, 5)
        allowed = jax.vmap(self.is_free)(state + MOVES).astype(jnp.int8)
        return {"place": {"row": row, "column": column}, "allowed": allowed}

    def reward(self, state, action, next_state, *, key):
        forbidden = jnp.all(state == next_state)
        return jnp.all(next_state == 4).astype(float) - 100.0 * forbidden

    def terminal(self, state, *, key):
        return jnp.all(state == 4)


ENV = fx.envs.TimeLimit(Rooms(), 40)


def check(algorithm, agent, num_updates):
    agents, metrics = train_seeds(algorithm, agent, num_updates=num_updates)
    returns = metrics["episode_return"]
    assert jnp.all(jnp.isnan(returns) | (returns >= 0.0))  # never a forbidden step
    assert mean_returns(ENV, agents).min() > 0.9


@pytest.mark.slow
def test_ppo():
    agent = fx.actor_critic(ENV, key=jax.random.key(0), width=32, action_mask="allowed")
    learn = fx.minimize(fx.ppo_loss(entropy_weight=0.01), fx.optimizer(optax.adam, 2e-3))
    learn = fx.chain(fx.normalize_advantage(), learn)
    learn = fx.minibatch(learn, num_epochs=4, num_minibatches=2)
    ppo = fx.chain(fx.rollout(ENV, num_envs=16, num_steps=40), fx.gae(discount=0.95), learn)
    check(ppo, agent, 50)


@pytest.mark.slow
def test_dqn():
    agent = fx.q_agent(ENV, key=jax.random.key(0), widths=(32, 32), action_mask="allowed")
    epsilon = fx.schedule(optax.linear_schedule, 1.0, 0.1, 8_000)
    learn = fx.chain(
        fx.td_target(n=3, double=True, discount=0.95, update=fx.polyak(0.02)),
        fx.minimize(fx.q_loss(), fx.optimizer(optax.adam, 1e-3)),
    )
    dqn = fx.chain(
        fx.rollout(ENV, num_envs=8, num_steps=4, explore=fx.epsilon_greedy(epsilon)),
        fx.replay(learn, capacity=8_000, batch_size=64, warmup=500, length=3, updates_per_step=4),
    )
    check(dqn, agent, 400)
