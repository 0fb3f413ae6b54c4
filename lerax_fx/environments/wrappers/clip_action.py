"""Any number as an action."""

from typing import Any, final

import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.environments.env import Env
from lerax_fx.environments.make import make
from lerax_fx.environments.spaces import Box, Space
from lerax_fx.environments.wrappers.shared import float_box
from lerax_fx.environments.wrappers.wrapper import AbstractWrapper


@final
class ClipAction(AbstractWrapper):
    """Let the agent act anywhere, and clip to the bounds of the action space.

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
