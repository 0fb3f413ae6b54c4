"""A limit on the length of episodes."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp

from lerax_fx._core.bounds import check_count
from lerax_fx.environments.env import Env
from lerax_fx.environments.make import make
from lerax_fx.environments.wrappers.wrapper import AbstractWrapper, WrapperState
from lerax_fx.types import Count, Flag, Key, Tree


@final
class TimeLimit(AbstractWrapper):
    """Truncate episodes after `max_steps` steps: the value of the last state still counts.

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
