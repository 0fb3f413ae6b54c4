"""Checks that an environment keeps the contract of `Env`."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from lerax_fx._core.arrays import spec
from lerax_fx.envs.env import Env
from lerax_fx.envs.registry import make
from lerax_fx.envs.wrappers import AbstractEnclosing
from lerax_fx.errors import LeraxError, WiringError, format_error
from lerax_fx.spaces import Space
from lerax_fx.typing import Key, Tree


def check_env(env: Any) -> None:
    """Check an environment's methods against each other and its spaces.

    `env` is an [`Env`][lerax_fx.Env], or what [`make`][lerax_fx.make] makes one of.

    Everything is evaluated abstractly: nothing is computed, nothing compiled.
    [`rollout`][lerax_fx.rollout] and [`evaluate`][lerax_fx.evaluate] do this before they act.
    What depends on values (an observation beyond its bounds) is not seen.

    **Raises:** `WiringError`, which names the method, if one of them fails, or gives what
    does not fit: a state of another structure, shape or dtype than before; an observation
    that is not of the observation space; a reward that is no float of shape `()`; an end
    that is no bool of shape `()`; a Python number where an array is wanted.
    `EnvironmentSetupError` for what is no environment.
    """
    env = make(env)
    key = jax.eval_shape(lambda: jax.random.key(0))

    def check(key: Key) -> tuple[()]:
        _check(env, key)
        return ()

    try:
        jax.eval_shape(check, key)
    except LeraxError:
        if isinstance(env, AbstractEnclosing):
            check_env(env.env)  # raises where the wrapped one is at fault, and names that
        raise


def _check(env: Env, key: Key) -> None:
    """The checks, in one trace."""
    call = _Caller(env.name)
    action_space = _space(call, env, "action_space")
    observation_space = _space(call, env, "observation_space")
    action = call("action_space.sample", action_space.sample, key)
    _arrays(f"{env.name}: action_space.sample", action)
    element = call("observation_space.sample", observation_space.sample, key)
    _arrays(f"{env.name}: observation_space.sample", element)

    state = call("initial", env.initial, key=key)
    _arrays(f"{env.name}: initial", state)
    state = jax.tree.map(_traced, state)
    following = call("transition", env.transition, state, action, key=key)
    _same(f"{env.name}: transition", "a state like initial's", state, following)
    again = call("restart", env.restart, following, state)
    _same(f"{env.name}: restart", "a state like initial's", state, again)

    observation = call("observation", env.observation, state, key=key)
    wanted = f"an element of {observation_space!r}"
    _same(f"{env.name}: observation", wanted, element, observation)

    step = (state, action, following)
    _scalar(f"{env.name}: reward", "float", call("reward", env.reward, *step, key=key))
    _scalar(f"{env.name}: terminal", "bool", call("terminal", env.terminal, state, key=key))
    _scalar(f"{env.name}: truncate", "bool", call("truncate", env.truncate, state))
    _info(f"{env.name}: state_info", call("state_info", env.state_info, state))
    info = call("transition_info", env.transition_info, *step)
    _info(f"{env.name}: transition_info", info)


class _Caller:
    """Calls methods, and says which one it was that failed."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, method: str, function: Callable[..., Any], *args: Tree, **key: Key) -> Any:
        try:
            return function(*args, **key)
        except LeraxError:
            raise
        except Exception as error:
            message = (str(error).splitlines() or [""])[0]
            raise WiringError(
                format_error(
                    f"{self.name}: {method}",
                    wanted="a method that can be traced"
                    + (f", for {spec(args)}" if args else "")
                    + (", with its key by keyword" if key else ""),
                    got=f"{type(error).__name__}: {message}",
                    fix="Write it with jax.numpy, for one environment and one step; the "
                    "error above has the line.",
                )
            ) from error


def _space(call: _Caller, env: Env, which: str) -> Space:
    found = call(which, lambda: getattr(env, which))
    if isinstance(found, Space):
        return found
    raise WiringError(
        format_error(
            f"{env.name}: {which}",
            wanted="a Space",
            got=_kind(found),
            fix="Make it a property that gives one, such as fx.spaces.Discrete(2).",
        )
    )


def _same(where: str, wanted: str, expected: Tree, found: Tree) -> None:
    structure = cast(Any, jax.tree.structure(expected))
    other = cast(Any, jax.tree.structure(found))
    if structure != other:
        raise _misfit(where, f"{wanted}, {structure}", f"{_kind(found)}, {other}")
    _arrays(where, found)
    paths = cast("list[Any]", jax.tree_util.tree_leaves_with_path(expected))
    for (path, one), another in zip(paths, jax.tree.leaves(found), strict=True):
        if one.shape != another.shape or _dtype(one) != _dtype(another):
            at = jax.tree_util.keystr(path)
            raise _misfit(where + at, f"{wanted}, {spec(one)}", spec(another))


def _arrays(where: str, found: Tree) -> None:
    """Refuse Python numbers, which are known while tracing."""
    for path, leaf in cast("list[Any]", jax.tree_util.tree_leaves_with_path(found)):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
            raise _misfit(where + jax.tree_util.keystr(path), "an array", _kind(leaf))


def _traced(leaf: Any) -> Any:
    """Numpy's arrays are traced in a rollout, and so they are here."""
    return leaf if isinstance(leaf, jax.Array) else jnp.array(leaf, copy=True)


def _dtype(array: Any) -> Any:
    """As JAX has it: without 64 bits, numpy's float64 is a float32."""
    return array.dtype if isinstance(array, jax.Array) else jnp.asarray(array).dtype


def _scalar(where: str, kind: str, found: Any) -> None:
    wanted = {"float": jnp.floating, "bool": jnp.bool_}[kind]
    if not isinstance(found, jax.Array):
        raise _misfit(where, f"a {kind} of shape (), as an array", _kind(found))
    if found.shape != () or not jnp.issubdtype(found.dtype, wanted):
        raise _misfit(where, f"a {kind} of shape ()", spec(found))


def _info(where: str, found: Any) -> None:
    if not isinstance(found, dict):
        raise _misfit(where, "a dict", _kind(found))
    for path, leaf in cast("list[Any]", jax.tree_util.tree_leaves_with_path(found)):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float):
            raise _misfit(where + jax.tree_util.keystr(path), "an array", _kind(leaf))
    if "unscaled_reward" in found:
        _scalar(f"{where}['unscaled_reward']", "float", found["unscaled_reward"])


def _kind(value: Any) -> str:
    """The type of a value, for a message."""
    if isinstance(value, bool | int | float):
        return f"the Python {type(value).__name__} {value!r}"
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return spec(value)
    return "None" if value is None else f"a {type(value).__name__}"


def _misfit(where: str, wanted: str, got: str) -> WiringError:
    fix = "Make the method return what is wanted, for instance with jnp.asarray(x, dtype)."
    return WiringError(format_error(where, wanted=wanted, got=got, fix=fix))
