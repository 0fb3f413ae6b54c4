"""Adapter to gymnax's environments (Lange, 2022).

Importing this module imports gymnax, which takes a while: it is left to
[`make`][lerax_fx.make] to do so when it is asked for one of them.
"""

import difflib
import functools
from collections.abc import Callable
from typing import Any, cast, final

import equinox as eqx
import gymnax
import jax
import jax.numpy as jnp
from gymnax.environments import spaces as gymnax_spaces
from gymnax.environments.environment import Environment
from jax.core import Tracer

from lerax_fx.envs.env import Env
from lerax_fx.errors import EnvironmentSetupError, format_error
from lerax_fx.spaces import Box, Dict, Discrete, Space, Tuple
from lerax_fx.typing import Flag, Key, Scalar, Tree


@final
class GymnaxState(eqx.Module):
    """A state of gymnax's own, and what its step gave along with it, so that nothing is
    computed again when it is asked for.
    """

    state: Tree
    observation: Tree
    reward: Scalar
    terminated: Flag


@final
class GymnaxEnv(Env):
    """An environment of gymnax. Random numbers, observations, rewards and ends are those of
    gymnax's `step_env` and `reset_env` under the same keys.

    **Arguments:**

    - `environment`: gymnax's object; static.
    - `params`: its parameters. Floats among them are hyperparameters, ints are structure.

    Its time limit (`max_steps_in_episode`) truncates, it does not terminate.
    """

    environment: Any = eqx.field(static=True)
    params: Any

    @property
    def name(self) -> str:
        return self.environment.name

    @property
    def action_space(self) -> Space:
        return self._space(self.environment.action_space)

    @property
    def observation_space(self) -> Space:
        return self._space(self.environment.observation_space)

    def _space(self, space_of: Callable[..., Any]) -> Space:
        # Some write their bounds as arrays, which within a jitted function would be tracers
        # that nobody knows the values of. Unless the parameters are, they need not be.
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(self.params)):
            return _convert(self.name, space_of(self.params))
        with jax.ensure_compile_time_eval():
            return _convert(self.name, space_of(self.params))

    def initial(self, *, key: Key) -> GymnaxState:
        observation, state = self.environment.reset_env(key, self.params)
        return self._state(state, observation, 0.0, False)

    def transition(self, state: GymnaxState, action: Tree, *, key: Key) -> GymnaxState:
        # Not `step`: that one resets, and draws a new episode at every step to do so.
        observation, following, reward, terminated, _ = self.environment.step_env(
            key, state.state, action, self.params
        )
        # With 64 bits, some mix the two widths: Pendulum's last_u is the action.
        following = jax.tree.map(_as_before, state.state, following)
        return self._state(following, observation, reward, terminated)

    def observation(self, state: GymnaxState, *, key: Key) -> Tree:
        del key
        return state.observation

    def reward(
        self, state: GymnaxState, action: Tree, next_state: GymnaxState, *, key: Key
    ) -> Scalar:
        del state, action, key
        return next_state.reward

    def terminal(self, state: GymnaxState, *, key: Key) -> Flag:
        del key
        return state.terminated

    def truncate(self, state: GymnaxState) -> Flag:
        limit = self.environment.is_truncated(state.state, self.params)
        return jnp.asarray(limit, bool)

    def _state(self, state: Any, observation: Any, reward: Any, terminated: Any) -> GymnaxState:
        return GymnaxState(
            jax.tree.map(_strong, state),
            _as_element(observation, self.observation_space),
            # Some rewards are ints, and some have the shape (1,).
            jnp.reshape(jnp.asarray(reward, float), ()),
            jnp.reshape(jnp.asarray(terminated, bool), ()),
        )


def is_gymnax_environment(value: Any) -> bool:
    """Whether `value` is an environment object of gymnax."""
    return isinstance(value, Environment)


def gymnax_env(name: str) -> GymnaxEnv:
    """The environment that gymnax has registered under an id, with its default parameters.

    **Raises:** `EnvironmentSetupError` for an unknown id, or if the data set that an
    environment is made of could not be loaded.
    """
    known = list(gymnax.registered_envs)
    if name not in known:
        raise EnvironmentSetupError(
            format_error(
                "make: env",
                wanted="the id of a gymnax environment",
                got=repr(name),
                fix=_suggest(name, known),
            )
        )
    environment = _environment(name)
    return GymnaxEnv(environment, environment.default_params)


def with_params(env: GymnaxEnv, changes: dict[str, Any]) -> GymnaxEnv:
    """The same environment with some of its parameters changed.

    **Raises:** `EnvironmentSetupError` for a name that it does not have.
    """
    known = sorted(cast("dict[str, Any]", vars(env.params)))
    for name in changes:
        if name not in known:
            raise EnvironmentSetupError(
                format_error(
                    f"make: {name}",
                    wanted=f"a parameter of {env.name}",
                    got=f"{name!r}, which it does not have",
                    fix=_suggest(name, known),
                )
            )
    typed = {name: _like(getattr(env.params, name), new) for name, new in changes.items()}
    return GymnaxEnv(env.environment, env.params.replace(**typed))


@functools.cache
def _environment(name: str) -> Any:
    """One object for each id: it is compared by identity, and two algorithms on the same
    environment must share one compiled program.
    """
    # It may be made while JAX traces; the arrays it keeps must not be tracers.
    with jax.ensure_compile_time_eval():
        try:
            environment, _ = gymnax.make(name)
        except (OSError, EOFError) as error:  # of a network or a file: MNISTBandit-bsuite
            raise EnvironmentSetupError(
                format_error(
                    f"make: {name}",
                    wanted="the data set that this environment is made of, which gymnax downloads",
                    got=f"{type(error).__name__}: {error}",
                    fix="Make it with a network connection, or put the files where gymnax keeps "
                    "them (/tmp/mnist), whole ones.",
                )
            ) from error
    return environment


def _like(old: Any, new: Any) -> Any:
    """An int where there was a float becomes one: ints would be structure."""
    if isinstance(old, float) and isinstance(new, int):
        return float(new)
    return new


def _suggest(name: str, known: list[str]) -> str:
    # By lower case, because ids differ from each other in more than that.
    lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(repr(lower[match]) for match in close)}?"
    return f"Choose one of: {', '.join(known)}."


def _convert(name: str, space: Any) -> Space:
    """A space of gymnax as one of `fx.spaces`."""
    match space:
        case gymnax_spaces.Discrete():
            return Discrete(int(space.n))
        case gymnax_spaces.Box():
            shape = (space.shape,) if isinstance(space.shape, int) else space.shape
            return Box(space.low, space.high, shape, space.dtype)
        case gymnax_spaces.Dict():
            return Dict({key: _convert(name, part) for key, part in space.spaces.items()})
        case gymnax_spaces.Tuple():
            return Tuple([_convert(name, part) for part in space.spaces])
        case _:
            raise EnvironmentSetupError(
                format_error(
                    f"{name}: spaces",
                    wanted="a Box, Discrete, Dict or Tuple of gymnax's",
                    got=f"a {type(space).__name__}",
                    fix="Give the environment one of these spaces, or write it as an fx.Env.",
                )
            )


def _as_element(observation: Any, space: Space) -> Tree:
    """The observation as its space declares it: some come as bool or int for a float box,
    or as an ordered dict.
    """
    match space:
        case Dict():
            return {key: _as_element(observation[key], s) for key, s in space.spaces.items()}
        case Tuple():
            parts = zip(observation, space.spaces, strict=True)
            return tuple(_as_element(part, s) for part, s in parts)
        case _:
            return jnp.asarray(observation, space.dtype)


def _as_before(old: Any, new: Any) -> Any:
    if jnp.issubdtype(old.dtype, jnp.floating):
        return jnp.asarray(new, old.dtype)
    return new


def _strong(leaf: Any) -> Any:
    """An array with a dtype of its own: a fresh state holds Python numbers, which would
    make it of another type than its successors.
    """
    dtype = jnp.result_type(leaf)
    if jnp.issubdtype(dtype, jax.dtypes.extended):  # a typed random key
        return leaf
    return jnp.asarray(leaf, dtype)
