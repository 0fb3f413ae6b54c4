"""Well-known environments with their velocities hidden."""

import difflib
from types import MappingProxyType
from typing import Any, Final

from lerax_fx.environments.env import Env
from lerax_fx.environments.make import make
from lerax_fx.environments.spaces import Box
from lerax_fx.environments.wrappers.select_observation import SelectObservation
from lerax_fx.environments.wrappers.wrapper import AbstractEnclosing
from lerax_fx.errors import EnvironmentSetupError, explain

# How many entries an observation has, and which of them are velocities.
_VELOCITIES: Final = MappingProxyType(
    {
        "CartPole-v1": (4, (1, 3)),
        "Pendulum-v1": (3, (2,)),
        "Acrobot-v1": (6, (4, 5)),
        "MountainCar-v0": (2, (1,)),
        "MountainCarContinuous-v0": (2, (1,)),
    }
)


def hide_velocities(env: Any) -> SelectObservation:
    """Hide the velocities in an environment's observations, so that they have to be worked
    out from how positions change.

    Of CartPole-v1 that leaves the position and the angle; of Pendulum-v1 cosine and sine of
    its angle; of Acrobot-v1 those of its two; of MountainCar-v0 and
    MountainCarContinuous-v0 the position.

    **Arguments:**

    - `env`: one of these, or what [`make`][lerax_fx.make] makes one of; wrappers around it
      are fine that leave each entry of its observations in its place.

    **Raises:** `EnvironmentSetupError` for another environment, for observations of another
    size than its own, or of which entries were already selected.
    """
    env = make(env)
    name = _innermost(env).name
    if name not in _VELOCITIES:
        near = difflib.get_close_matches(name, _VELOCITIES, n=1)
        raise EnvironmentSetupError(
            explain(
                "hide_velocities: env",
                wanted=f"one of {', '.join(_VELOCITIES)}",
                got=env.name,
                fix=(f"Did you mean {near[0]!r}? Else n" if near else "N")
                + "ame what is to be seen yourself: fx.SelectObservation(env, indices).",
            )
        )
    size, velocities = _VELOCITIES[name]
    space = env.observation_space
    whole = isinstance(space, Box) and space.shape == (size,)
    if not whole or _selects(env):
        raise EnvironmentSetupError(
            explain(
                "hide_velocities: env",
                wanted=f"the {size} numbers that {name} is observed by",
                got=f"{env.name} with {space!r}",
                fix="Hide velocities first, and put other wrappers around that.",
            )
        )
    return SelectObservation(env, [i for i in range(size) if i not in velocities])


def _selects(env: Env) -> bool:
    """Whether entries may be in other places: those of a `SelectObservation` may."""
    while isinstance(env, AbstractEnclosing):
        if isinstance(env, SelectObservation):
            return True
        env = env.env
    return False


def _innermost(env: Env) -> Env:
    while isinstance(env, AbstractEnclosing):
        env = env.env
    return env
