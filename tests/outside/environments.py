"""Small environments for the programs of this folder, and how they are judged."""

import equinox as eqx
import jax
import jax.numpy as jnp

import lerax_fx as fx

MOVES = jnp.array([[0, 1], [1, 0], [0, -1], [-1, 0]])


class Grid(fx.Env):
    """Walk from one corner to the opposite one, for a reward of 1; cut after `limit` steps. With
    `stairs`, there is only a staircase to walk on, and a step beside it ends the episode.
    """

    size: int = 5
    limit: int = 20
    stairs: bool = False
    action_space = fx.spaces.Discrete(4)

    @property
    def observation_space(self):
        return fx.spaces.Box(0.0, 1.0, (2 * self.size,))

    def initial(self, *, key):
        return jnp.zeros(2, jnp.int32), jnp.zeros((), jnp.int32)

    def transition(self, state, action, *, key):
        place, time = state
        return jnp.clip(place + MOVES[action], 0, self.size - 1), time + 1

    def observation(self, state, *, key):
        return jax.nn.one_hot(state[0], self.size).ravel()

    def reward(self, state, action, next_state, *, key):
        return jnp.all(next_state[0] == self.size - 1).astype(float)

    def terminal(self, state, *, key):
        right_of_diagonal = state[0][1] - state[0][0]
        fell = self.stairs & ((right_of_diagonal < 0) | (right_of_diagonal > 1))
        return fell | jnp.all(state[0] == self.size - 1)

    def truncate(self, state):
        return state[1] >= self.limit


class Recall(fx.Env):
    """A cue is seen in the first step; naming it in the last one, of `length`, is worth 1."""

    cues: int = 4
    length: int = 5

    @property
    def action_space(self):
        return fx.spaces.Discrete(self.cues)

    @property
    def observation_space(self):
        return fx.spaces.Box(0.0, 1.0, (self.cues + 1,))

    def initial(self, *, key):
        return jax.random.randint(key, (), 0, self.cues), jnp.zeros((), jnp.int32)

    def transition(self, state, action, *, key):
        return state[0], state[1] + 1

    def observation(self, state, *, key):
        cue, time = state
        shown = jax.nn.one_hot(cue, self.cues) * (time == 0)
        return jnp.append(shown, (time == self.length - 1).astype(float))

    def reward(self, state, action, next_state, *, key):
        last = next_state[1] == self.length
        return (last & (action == state[0])).astype(float)

    def terminal(self, state, *, key):
        return state[1] >= self.length


class Point(fx.Env):
    """Push a mass on a line to the origin and hold it there; cut after 30 steps."""

    action_space = fx.spaces.Box(-1.0, 1.0, (1,))
    observation_space = fx.spaces.Box(-jnp.inf, jnp.inf, (2,))

    def initial(self, *, key):
        return jax.random.uniform(key, (2,), minval=-1.0), jnp.zeros((), jnp.int32)

    def transition(self, state, action, *, key):
        (place, velocity), time = state
        velocity = 0.9 * velocity + 0.3 * action[0]
        return jnp.stack([place + 0.3 * velocity, velocity]), time + 1

    def observation(self, state, *, key):
        return state[0]

    def reward(self, state, action, next_state, *, key):
        return -(next_state[0][0] ** 2) - 0.01 * action[0] ** 2

    def terminal(self, state, *, key):
        return jnp.zeros((), bool)

    def truncate(self, state):
        return state[1] >= 30


def train_seeds(algorithm, agent, *, num_updates, seeds=3, key=7):
    """Train with several seeds at once: agents and metrics with an axis of seeds in front."""
    train = fx.anakin_loop(algorithm, num_updates)
    keys = jax.random.split(jax.random.key(key), seeds)
    # Not jax.vmap: an agent may hold functions and floats, as those of eqx.nn do.
    return eqx.filter_vmap(train, in_axes=(None, 0))(agent, keys)


def mean_returns(env, agents, *, greedy=True):
    """The mean return of each of several agents, over 64 episodes."""

    def mean_return(agent):
        evaluation = fx.evaluate(env, agent, jax.random.key(1), num_episodes=64, greedy=greedy)
        return evaluation.episode_return.mean()

    return eqx.filter_vmap(mean_return)(agents)
