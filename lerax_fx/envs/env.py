"""The interface of environments."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx.spaces import Space
from lerax_fx.typing import Flag, Key, Scalar, Tree

ENVIRONMENT_AXIS = "environment"
"""The name that `vmap` gives to the axis over environments, wherever a batch of them is
stepped. What environments share (the running statistics of a normalisation) is merged
across it; without it, an environment is on its own."""


class Timestep(eqx.Module):
    """What one step of one environment yields.

    - `state`: to act from next; already that of a new episode if the last one ended.
    - `observation`: to act on next; after the reset, if there was one.
    - `next_observation`: what the action led to, before any reset.
    - `reward`: float, `()`.
    - `terminated`: bool, `()`. The episode came to an end of its own: no value follows.
    - `truncated`: bool, `()`. A time limit cut it: its value goes on.
    - `info`: anything else. `"unscaled_reward"`, where it is present, is the reward
      before wrappers changed it.
    """

    state: Tree
    observation: Tree
    next_observation: Tree
    reward: Scalar
    terminated: Flag
    truncated: Flag
    info: dict[str, Any]


class Env(eqx.Module):
    """A functional environment: pure functions of one environment and one step.

    Subclass it with the two spaces and the five abstract methods. A state is a PyTree of
    arrays, with the same structure after every transition. Batches are made outside, with
    `jax.vmap(..., axis_name=ENVIRONMENT_AXIS)`. An environment's own fields that are
    floats or arrays are traced; ints, bools and strings shape the program.

    Methods return JAX arrays, not Python numbers, and work with and without that axis.
    [`check_env`][lerax_fx.check_env] tells whether a new environment keeps
    to all this; rollouts and evaluations check it too.
    """

    @property
    @abc.abstractmethod
    def action_space(self) -> Space:
        """The space of actions."""

    @property
    @abc.abstractmethod
    def observation_space(self) -> Space:
        """The space of observations."""

    @abc.abstractmethod
    def initial(self, *, key: Key) -> Tree:
        """An initial state.

        Drawn ahead, for several steps at once: it cannot depend on `ENVIRONMENT_AXIS`.
        """

    @abc.abstractmethod
    def transition(self, state: Tree, action: Tree, *, key: Key) -> Tree:
        """The next state; without a reset."""

    @abc.abstractmethod
    def observation(self, state: Tree, *, key: Key) -> Tree:
        """The observation of a state: an element of `observation_space`."""

    @abc.abstractmethod
    def reward(self, state: Tree, action: Tree, next_state: Tree, *, key: Key) -> Scalar:
        """The reward of one transition: float, `()`."""

    @abc.abstractmethod
    def terminal(self, state: Tree, *, key: Key) -> Flag:
        """Whether the episode terminates in this state: bool, `()`. Time limits do not count."""

    @property
    def name(self) -> str:
        """The name in errors and tables: the class's."""
        return type(self).__name__

    def __str__(self) -> str:
        return self.name

    def truncate(self, state: Tree) -> Flag:
        """Whether the episode is truncated in this state (a time limit): bool, `()`. Never, by
        default.
        """
        del state
        return jnp.zeros((), bool)

    def state_info(self, state: Tree) -> dict[str, Any]:
        """Further information about a state, for `info`."""
        del state
        return {}

    def transition_info(self, state: Tree, action: Tree, next_state: Tree) -> dict[str, Any]:
        """Further information about a transition, for `info`."""
        del state, action, next_state
        return {}

    def restart(self, state: Tree, reset_state: Tree) -> Tree:
        """The state after a reset, when an episode ended in `state` and `initial` gave
        `reset_state`: that one, by default. What outlives an episode is carried over here.
        """
        del state
        return reset_state

    def reset(self, *, key: Key) -> tuple[Tree, Tree]:
        """An initial state, and its observation."""
        state_key, observation_key = _keys(key, 2)
        state = self.initial(key=state_key)
        return state, self.observation(state, key=observation_key)

    def advance(self, state: Tree, action: Tree, *, key: Key) -> Timestep:
        """One step, without a reset: `observation` is `next_observation`."""
        keys = _keys(key, 4)
        following = self.transition(state, action, key=keys[0])
        observation = self.observation(following, key=keys[1])
        return Timestep(
            following,
            observation,
            observation,
            self.reward(state, action, following, key=keys[2]),
            self.terminal(following, key=keys[3]),
            self.truncate(following),
            {
                **self.state_info(following),
                **self.transition_info(state, action, following),
            },
        )

    def auto_reset(self, timestep: Timestep, reset_state: Tree, *, key: Key) -> Timestep:
        """Reset if the episode ended; else the timestep unchanged.

        **Arguments:**

        - `reset_state`: what `initial` gave. It is asked for instead of drawn here, so that
          those of many steps can be drawn at once.
        """
        again = self.restart(timestep.state, reset_state)
        first = self.observation(again, key=key)
        done = timestep.terminated | timestep.truncated
        # Selected, not observed anew: where observations are random, the one that is
        # acted on next must be `next_observation` itself while the episode runs.
        state = _select(done, again, timestep.state)
        observation = _select(done, first, timestep.next_observation)
        return Timestep(
            state,
            observation,
            timestep.next_observation,
            timestep.reward,
            timestep.terminated,
            timestep.truncated,
            timestep.info,
        )

    def step(self, state: Tree, action: Tree, *, key: Key) -> Timestep:
        """One step, with auto-reset."""
        advance_key, fresh_key, observation_key = _keys(key, 3)
        timestep = self.advance(state, action, key=advance_key)
        reset_state = self.initial(key=fresh_key)
        return self.auto_reset(timestep, reset_state, key=observation_key)


def _select(condition: Flag, this: Tree, that: Tree) -> Tree:
    def select(one: Any, other: Any) -> Any:
        return jnp.where(condition, one, other)

    return jax.tree.map(select, this, that)


def _keys(key: Key, number: int) -> list[Key]:
    """Independent keys. Folded in one by one, not split: a key that an environment does
    not use is then dead code, and random bits are most of what a small step costs.
    """
    return [jax.random.fold_in(key, index) for index in range(number)]
