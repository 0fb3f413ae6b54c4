"""What all wrappers have in common.

A wrapper is an `Env` around an `Env`. The methods of `Env` are written once, here, in terms
of a few hooks; each hook leaves things as they are, and a wrapper overrides those that it
is about.
"""

from typing import Any, final

import equinox as eqx
import jax

from lerax_fx.environments.env import Env
from lerax_fx.environments.spaces import Space
from lerax_fx.types import Flag, Key, Scalar, Tree


@final
class WrapperState(eqx.Module):
    """The state of the wrapped environment, and what the wrapper remembers beside it."""

    env: Tree
    memory: Tree


class AbstractEnclosing(Env):
    """An environment made of another, in its field `env`; its states are `WrapperState`s."""

    env: eqx.AbstractVar[Env]

    @property
    def name(self) -> str:
        return f"{type(self).__name__}({self.env.name})"

    def freeze(self, memory: Tree) -> Env:
        """The same with the statistics in `memory` for good; itself if it has none."""
        del memory
        return self


class AbstractWrapper(AbstractEnclosing):
    """An environment that changes something about another, in its field `env`.

    Override the hooks, from `wrap_action_space` on. Random numbers of the wrapped
    environment are the same as without the wrapper. The key that `next_memory` gets is this
    wrapper's alone: no other wrapper in a nest of them gets it, nor does the environment.
    """

    @property
    def action_space(self) -> Space:
        return self.wrap_action_space(self.env.action_space)

    @property
    def observation_space(self) -> Space:
        return self.wrap_observation_space(self.env.observation_space)

    def initial(self, *, key: Key) -> WrapperState:
        return WrapperState(self.env.initial(key=key), self.first_memory())

    def transition(self, state: WrapperState, action: Tree, *, key: Key) -> WrapperState:
        action = self.unwrap_action(action)
        following = self.env.transition(state.env, action, key=key)
        memory = self.next_memory(state, action, following, key=self._own_key(key))
        return WrapperState(following, memory)

    def observation(self, state: WrapperState, *, key: Key) -> Tree:
        observation = self.env.observation(state.env, key=key)
        return self.wrap_observation(state.memory, observation)

    def reward(
        self, state: WrapperState, action: Tree, next_state: WrapperState, *, key: Key
    ) -> Scalar:
        action = self.unwrap_action(action)
        reward = self.env.reward(state.env, action, next_state.env, key=key)
        return self.wrap_reward(next_state.memory, reward)

    def terminal(self, state: WrapperState, *, key: Key) -> Flag:
        return self.env.terminal(state.env, key=key)

    def truncate(self, state: WrapperState) -> Flag:
        return self.wrap_truncate(state.memory, self.env.truncate(state.env))

    def state_info(self, state: WrapperState) -> dict[str, Any]:
        return self.env.state_info(state.env)

    def transition_info(
        self, state: WrapperState, action: Tree, next_state: WrapperState
    ) -> dict[str, Any]:
        action = self.unwrap_action(action)
        info = self.env.transition_info(state.env, action, next_state.env)
        # What is wrapped has the last word: the innermost `unscaled_reward` is the one
        # that no wrapper has touched.
        return {**self.memory_info(next_state.memory), **info}

    def restart(self, state: WrapperState, fresh: WrapperState) -> WrapperState:
        memory = self.restart_memory(state.memory, fresh.memory)
        return WrapperState(self.env.restart(state.env, fresh.env), memory)

    def wrap_action_space(self, space: Space) -> Space:
        """The space of actions outside, given the one inside."""
        return space

    def wrap_observation_space(self, space: Space) -> Space:
        """The space of observations outside, given the one inside."""
        return space

    def unwrap_action(self, action: Tree) -> Tree:
        """The action for the wrapped environment."""
        return action

    def wrap_observation(self, memory: Tree, observation: Tree) -> Tree:
        """What is seen outside; `memory` is that of the state that is observed."""
        del memory
        return observation

    def wrap_reward(self, memory: Tree, reward: Scalar) -> Scalar:
        """The reward outside; `memory` is that after the transition."""
        del memory
        return reward

    def wrap_truncate(self, memory: Tree, truncated: Flag) -> Flag:
        """Whether the episode is cut."""
        del memory
        return truncated

    def memory_info(self, memory: Tree) -> dict[str, Any]:
        """What to report about a transition; `memory` is that after it."""
        del memory
        return {}

    def first_memory(self) -> Tree:
        """What is remembered in the first state of all: a PyTree of arrays."""
        return ()

    def next_memory(self, state: WrapperState, action: Tree, next_state: Tree, *, key: Key) -> Tree:
        """What is remembered after a transition. `action` and `next_state` are the wrapped
        environment's.
        """
        del action, next_state, key
        return state.memory

    def restart_memory(self, memory: Tree, fresh: Tree) -> Tree:
        """What is remembered at the start of the next episode, given what was at the end
        of this one, and `first_memory`.
        """
        del memory
        return fresh

    def _own_key(self, key: Key) -> Key:
        """The key of this wrapper. `key` itself goes to the wrapped environment, and so to
        every wrapper inside: the number of wrappers within tells their keys apart. Counted
        from a large number, far from what an environment may fold in.
        """
        return jax.random.fold_in(key, 0x77726170 + _wrappers_within(self))


def frozen(env: Env, state: Tree) -> Env:
    """The environment for evaluation: all running statistics as they are in `state`, and
    never updated.

    **Arguments:**

    - `state`: a state of `env`, or a batch of such (the `environment` of a rollout's
      actors): what all environments share is taken from the first.
    """
    if not isinstance(env, AbstractEnclosing):
        return env
    fixed = env.freeze(state.memory)
    return eqx.tree_at(_wrapped, fixed, frozen(env.env, state.env))


def _wrapped(env: Any) -> Env:
    return env.env


def _wrappers_within(wrapper: AbstractWrapper) -> int:
    """How many wrappers a wrapper encloses, one in another, other environments between them
    included.
    """
    leaves = jax.tree.leaves(wrapper.env, is_leaf=_is_wrapper)
    inner = [leaf for leaf in leaves if isinstance(leaf, AbstractWrapper)]
    return max((1 + _wrappers_within(each) for each in inner), default=0)


def _is_wrapper(value: Any) -> bool:
    return isinstance(value, AbstractWrapper)
