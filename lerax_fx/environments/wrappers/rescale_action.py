"""Actions of one size, whatever the environment."""

from typing import Any, final

from jaxtyping import Array, Float

from lerax_fx.environments.env import Env
from lerax_fx.environments.make import make
from lerax_fx.environments.spaces import Box, Space
from lerax_fx.environments.wrappers.shared import float_box
from lerax_fx.environments.wrappers.wrapper import AbstractWrapper
from lerax_fx.errors import EnvironmentSetupError, explain


@final
class RescaleAction(AbstractWrapper):
    """Let the agent act in [-1, 1], and map that onto the action space, linearly.

    Nothing is clipped: an action outside of [-1, 1] lands outside of the space. Put
    [`ClipAction`][lerax_fx.ClipAction] around this for policies without bounds.

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
                explain(
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
