"""Environments by name."""

from typing import TYPE_CHECKING, Any

import jax

from lerax_fx.envs.env import Env
from lerax_fx.errors import EnvironmentSetupError, format_error
from lerax_fx.spaces import Space

if TYPE_CHECKING:
    from types import ModuleType


def make(env: Any, **params: Any) -> Env:
    """Make an environment.

    **Arguments:**

    - `env`: the id of a gymnax environment (`"CartPole-v1"`); an environment object of
      gymnax, or a pair `(object, params)`; or an [`Env`][lerax_fx.Env], which passes as
      it is.
    - `params`: parameters of the gymnax environment that are to differ from the defaults,
      as in `make("CartPole-v1", max_steps_in_episode=200)`.

    Two environments made in the same way are equal in structure: a program compiled for
    one serves the other.

    **Raises:** `EnvironmentSetupError` if there is no such environment or parameter, if
    gymnax is not installed, or if the data set that an environment is made of (MNIST, for
    "MNISTBandit-bsuite") could not be downloaded.
    """
    if isinstance(env, Env):
        if params:
            raise _no_parameters(env, params)
        return env
    adapter = _gymnax_adapter(env)
    if isinstance(env, str):
        adapted = adapter.gymnax_env(env)
    elif adapter.is_gymnax_environment(env):
        adapted = adapter.GymnaxEnv(env, env.default_params)
    elif _is_pair(env) and adapter.is_gymnax_environment(env[0]):
        adapted = adapter.GymnaxEnv(*env)
    else:
        raise EnvironmentSetupError(
            format_error(
                "make: env",
                wanted="an id, an fx.Env, or an environment object of gymnax",
                got=f"{env!r} of type {type(env).__name__}",
                fix="Pass one of these; to bring your own environment, subclass fx.Env.",
            )
        )
    return adapter.with_params(adapted, params)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2  # pyright: ignore[reportUnknownArgumentType] -- any tuple has a length


def _no_parameters(env: Env, params: dict[str, Any]) -> EnvironmentSetupError:
    return EnvironmentSetupError(
        format_error(
            f"make: {', '.join(sorted(params))}",
            wanted="no parameters beside an Env, which has its own",
            got=f"{env.name} and {params}",
            fix="Build the Env with other fields instead.",
        )
    )


def _gymnax_adapter(env: Any) -> "ModuleType":
    """The adapter's module, imported only here: gymnax is optional, and slow to import."""
    try:
        from lerax_fx.envs import gymnax as adapter
    except ModuleNotFoundError as error:
        raise EnvironmentSetupError(
            format_error(
                "make: env",
                wanted="gymnax and what it needs to be installed",
                got=f"{env!r}, and no module named {error.name!r}",
                fix="Run pip install 'lerax-fx[gymnax]'.",
            )
        ) from error
    return adapter


def spaces_of(env: Any) -> tuple[Space, Space]:
    """The observation and action space of `env`: an `Env`, whatever [`make`][lerax_fx.make] takes,
    or the two spaces themselves.
    """
    match env:
        case (Space() as observations, Space() as actions):
            return observations, actions
        case _:
            made = make(env)
            # Where a recipe is made while JAX traces, bounds that are known stay known.
            with jax.ensure_compile_time_eval():
                return made.observation_space, made.action_space
