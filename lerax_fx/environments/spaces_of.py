"""What an agent has to know of its environment."""

from typing import Any

import jax

from lerax_fx.environments.make import make
from lerax_fx.environments.spaces import Space


def spaces_of(env: Any) -> tuple[Space, Space]:
    """The spaces of observations and of actions of `env`, an `Env` or whatever
    [`make`][lerax_fx.make] takes; or `env` itself, if it is these two.
    """
    match env:
        case (Space() as observations, Space() as actions):
            return observations, actions
        case _:
            made = make(env)
            # Where a recipe is made while JAX traces, bounds that are known stay known.
            with jax.ensure_compile_time_eval():
                return made.observation_space, made.action_space
