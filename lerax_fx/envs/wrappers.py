"""Environment wrappers: base classes, time limits, action spaces."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_count
from lerax_fx.envs.env import Env
from lerax_fx.envs.registry import make
from lerax_fx.envs.statistics import RunningStatistics
from lerax_fx.errors import EnvironmentSetupError, HyperparameterError, format_error
from lerax_fx.spaces import Box, Space
from lerax_fx.typing import Count, Flag, Key, Scalar, Tree


@final
class WrapperState(eqx.Module):
    """The state of the wrapped environment, and the wrapper's own state."""

    env: Tree
    memory: Tree


class AbstractEnclosing(Env):
    """An environment around another one, `env`; its states are `WrapperState`s."""

    env: eqx.AbstractVar[Env]

    @property
    def name(self) -> str:
        return f"{type(self).__name__}({self.env.name})"

    def freeze(self, memory: Tree) -> Env:
        """The same with the statistics in `memory` for good; itself if it has none."""
        del memory
        return self


class AbstractWrapper(AbstractEnclosing):
    """The base of wrappers: an environment that changes something about another, `env`.

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

    def restart(self, state: WrapperState, reset_state: WrapperState) -> WrapperState:
        memory = self.restart_memory(state.memory, reset_state.memory)
        return WrapperState(self.env.restart(state.env, reset_state.env), memory)

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
        """The observation outside; `memory` is that of the observed state."""
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
        """The wrapper's own state at the very first reset: a PyTree of arrays."""
        return ()

    def next_memory(self, state: WrapperState, action: Tree, next_state: Tree, *, key: Key) -> Tree:
        """The wrapper's own state after a transition. `action` and `next_state` are the wrapped
        environment's.
        """
        del action, next_state, key
        return state.memory

    def restart_memory(self, memory: Tree, reset_state: Tree) -> Tree:
        """The wrapper's own state at the start of the next episode, given what was at the end
        of this one, and `first_memory`.
        """
        del memory
        return reset_state

    def _own_key(self, key: Key) -> Key:
        """The key of this wrapper, folded in by the number of wrappers within; `key` itself goes to
        the wrapped environment, and so to every wrapper inside. Counted from a large number, far
        from what an environment may fold in.
        """
        return jax.random.fold_in(key, 0x77726170 + _wrappers_within(self))


def freeze_statistics(env: Env, state: Tree) -> Env:
    """Freeze the running statistics of an environment at those in `state`, for evaluation.

    **Arguments:**

    - `state`: a state of `env`, or a batch of such (`state["rollout"].runners.environment` of a
      chain): what all environments share is taken from the first.
    """
    if not isinstance(env, AbstractEnclosing):
        return env
    fixed = env.freeze(state.memory)
    return eqx.tree_at(_wrapped, fixed, freeze_statistics(env.env, state.env))


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


def first_of_batch(batch: Tree, like: Tree) -> Tree:
    """The first of a batch over any leading axes, none included; `like` has the shapes of
    one. For what is the same in all of them.
    """

    def first(leaf: jax.Array, one: jax.Array) -> jax.Array:
        return jnp.reshape(leaf, (-1, *one.shape))[0]

    return jax.tree.map(first, batch, like)


def check_shape(wrapper: str, statistics: RunningStatistics, shape: tuple[int, ...]) -> None:
    """**Raises:** `HyperparameterError` for statistics of another shape, which would be
    broadcast.
    """
    if statistics.mean.shape == shape and statistics.variance.shape == shape:
        return
    raise HyperparameterError(
        format_error(
            f"{wrapper}: statistics",
            wanted=f"a mean and a variance of shape {shape}",
            got=f"{statistics.mean.shape} and {statistics.variance.shape}",
            fix="Take those of one environment, for instance by fx.envs.freeze_statistics.",
        )
    )


def float_box(wrapper: str, env: Env) -> Box:
    """The action space of an environment whose actions are floats.

    **Raises:** `EnvironmentSetupError` for any other.
    """
    space = env.action_space
    if isinstance(space, Box) and jnp.issubdtype(space.dtype, jnp.floating):
        return space
    raise EnvironmentSetupError(
        format_error(
            f"{wrapper}: env",
            wanted="actions that are one array of floats (a Box)",
            got=f"{env.name} with {space!r}",
            fix="Leave the wrapper out: these actions have no scale.",
        )
    )


@final
class TimeLimit(AbstractWrapper):
    """Truncate episodes after `max_steps` steps.

    **Arguments:**

    - `env`: an `Env`, or what [`make`][lerax_fx.make] makes one of.
    - `max_steps`: an int of at least 1.

    **Raises:** `HyperparameterError` for another `max_steps`.
    """

    env: Env
    max_steps: int = eqx.field(static=True)

    def __init__(self, env: Any, max_steps: int):
        self.env = make(env)
        self.max_steps = check_count("TimeLimit: max_steps", max_steps)

    def wrap_truncate(self, memory: Count, truncated: Flag) -> Flag:
        return truncated | (memory >= self.max_steps)

    def first_memory(self) -> Count:
        return jnp.zeros((), jnp.int32)

    def next_memory(
        self, state: WrapperState, action: Tree, next_state: Tree, *, key: Key
    ) -> Count:
        del action, next_state, key
        return state.memory + 1


@final
class ClipAction(AbstractWrapper):
    """Clip actions to the bounds of the action space.

    **Arguments:**

    - `env`: an `Env`, or what [`make`][lerax_fx.make] makes one of. Its actions must be
      one array of floats.

    **Raises:** `EnvironmentSetupError` for actions of another kind.
    """

    env: Env

    def __init__(self, env: Any):
        self.env = make(env)
        float_box("ClipAction", self.env)

    def wrap_action_space(self, space: Space) -> Box:
        return Box(-float("inf"), float("inf"), space.shape, space.dtype)

    def unwrap_action(self, action: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        space = float_box("ClipAction", self.env)
        return jnp.clip(action, space.low, space.high)


@final
class RescaleAction(AbstractWrapper):
    """Rescale actions from [-1, 1] to the bounds of the action space.

    Nothing is clipped: an action outside of [-1, 1] lands outside of the space. Put
    [`ClipAction`][lerax_fx.envs.ClipAction] around this for policies without bounds.

    **Arguments:**

    - `env`: an `Env`, or what [`make`][lerax_fx.make] makes one of. Its actions must be
      one array of floats, bounded on both sides.

    **Raises:** `EnvironmentSetupError` for actions of another kind.
    """

    env: Env

    def __init__(self, env: Any):
        self.env = make(env)
        space = float_box("RescaleAction", self.env)
        bounded = space.bounded
        if isinstance(bounded, bool) and not bounded:
            raise EnvironmentSetupError(
                format_error(
                    "RescaleAction: env",
                    wanted="an action space with finite bounds",
                    got=f"{self.env.name} with {space!r}, low {space.low}, high {space.high}",
                    fix="Leave the wrapper out: an unbounded space has no scale.",
                )
            )

    def wrap_action_space(self, space: Space) -> Box:
        return Box(-1.0, 1.0, space.shape, space.dtype)

    def unwrap_action(self, action: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        space = float_box("RescaleAction", self.env)
        # A mean of the bounds, weighted: exact at both ends.
        return 0.5 * ((1.0 - action) * space.low + (1.0 + action) * space.high)
