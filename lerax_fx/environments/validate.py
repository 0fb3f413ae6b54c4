"""Whether an environment keeps to the contract of `Env`."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from lerax_fx._core.arrays import spec
from lerax_fx.environments.env import Env
from lerax_fx.errors import LeraxError, WiringError, explain
from lerax_fx.types import Tree


def check_env(env: Env) -> None:
    """Check an environment's methods against each other and its spaces.

    Everything is evaluated abstractly: nothing is computed, nothing compiled.

    **Raises:** `WiringError`, which names the method, if one of them fails, or gives what
    does not fit: a state of another structure, shape or dtype than before; an observation
    that is not of the observation space; a reward that is no float of shape `()`; an end
    that is no bool of shape `()`.
    """
    call = _Caller(env.name)
    key = jax.eval_shape(lambda: jax.random.key(0))
    action = call("action_space.sample", env.action_space.sample, key)
    element = call("observation_space.sample", env.observation_space.sample, key)

    state = call("initial", _keyed(env.initial), key)
    following = call("transition", _keyed(env.transition), state, action, key)
    _same(f"{env.name}: transition", "a state like initial's", state, following)
    again = call("restart", env.restart, following, state)
    _same(f"{env.name}: restart", "a state like initial's", state, again)

    observation = call("observation", _keyed(env.observation), state, key)
    wanted = f"an element of {env.observation_space!r}"
    _same(f"{env.name}: observation", wanted, element, observation)

    step = (state, action, following)
    _scalar(f"{env.name}: reward", "float", call("reward", _keyed(env.reward), *step, key))
    _scalar(f"{env.name}: terminal", "bool", call("terminal", _keyed(env.terminal), state, key))
    _scalar(f"{env.name}: truncate", "bool", call("truncate", env.truncate, state))
    _info(f"{env.name}: state_info", call("state_info", env.state_info, state))
    info = call("transition_info", env.transition_info, *step)
    _info(f"{env.name}: transition_info", info)


def _keyed(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method with its key as the last argument."""

    def call(*args: Tree) -> Any:
        return method(*args[:-1], key=args[-1])

    return call


class _Caller:
    """Calls methods abstractly, and says which one it was that failed."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, method: str, function: Callable[..., Any], *args: Tree) -> Any:
        try:
            return jax.eval_shape(function, *args)
        except LeraxError:
            raise
        except Exception as error:
            raise WiringError(
                explain(
                    f"{self.name}: {method}",
                    wanted=f"a method that can be traced, for {spec(args)}",
                    got=f"{type(error).__name__}: {str(error).splitlines()[0]}",
                    fix="Write it with jax.numpy, for one environment and one step; the "
                    "error above has the line.",
                )
            ) from error


def _same(where: str, wanted: str, expected: Tree, found: Tree) -> None:
    structure = cast(Any, jax.tree.structure(expected))
    other = cast(Any, jax.tree.structure(found))
    if structure != other:
        raise _misfit(where, f"{wanted}, {structure}", f"{other}")
    paths = cast("list[Any]", jax.tree_util.tree_leaves_with_path(expected))
    for (path, one), another in zip(paths, jax.tree.leaves(found), strict=True):
        if one.shape != another.shape or one.dtype != another.dtype:
            at = jax.tree_util.keystr(path)
            raise _misfit(where + at, f"{wanted}, {spec(one)}", spec(another))


def _scalar(where: str, kind: str, found: Tree) -> None:
    wanted = {"float": jnp.floating, "bool": jnp.bool_}[kind]
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise _misfit(where, f"a {kind} of shape ()", f"a {type(found).__name__}")
    if found.shape != () or not jnp.issubdtype(found.dtype, wanted):
        raise _misfit(where, f"a {kind} of shape ()", spec(found))


def _info(where: str, found: Any) -> None:
    if not isinstance(found, dict):
        raise _misfit(where, "a dict", f"a {type(found).__name__}")


def _misfit(where: str, wanted: str, got: str) -> WiringError:
    fix = "Make the method return what is wanted, for instance with jnp.asarray(x, dtype)."
    return WiringError(explain(where, wanted=wanted, got=got, fix=fix))
