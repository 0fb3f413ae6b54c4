"""What acting in environments yields."""

from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx._core.arrays import check_leading_axes
from lerax_fx._core.checked import Checked
from lerax_fx._core.wiring import provided_by
from lerax_fx.types import Tree

provided_by("Rollout", "fx.rollout(...)")


@final
class Rollout(Checked):
    """Trajectories: one, or a batch of them; time is the last of the leading axes.

    - `observation`, `action`, `reward`: what was seen, done, and earned for it.
    - `terminated`: whether the action ended the episode for good: nothing follows, and
      nothing is bootstrapped from.
    - `truncated`: whether the episode was cut (a time limit): what would have followed is
      bootstrapped from. Both end an episode.
    - `next_observation`: what the action led to, before any reset.
    - `log_prob`: of the action, under the policy that took it.
    - `value`: the agent's estimate at `observation`.
    - `next_value`: its estimate at `next_observation`; 0 where terminated.
    - `memory`: the agent's memory before the first step of each trajectory, without a time
      axis; it has no leaves for an agent without memory.

    **Raises:** `WiringError` if an observation or action does not begin with the reward's
    axes.
    """

    observation: Tree
    action: Tree
    reward: Float[Array, "*batch time"]
    terminated: Bool[Array, "*batch time"]
    truncated: Bool[Array, "*batch time"]
    next_observation: Tree
    log_prob: Float[Array, "*batch time"]
    value: Float[Array, "*batch time"]
    next_value: Float[Array, "*batch time"]
    memory: Tree = None

    def __check_init__(self) -> None:
        fields = {
            "observation": self.observation,
            "action": self.action,
            "next_observation": self.next_observation,
        }
        check_leading_axes("Rollout", self.reward.shape, fields)

    @property
    def done(self) -> Bool[Array, "*batch time"]:
        """Whether the action ended the episode, one way or the other."""
        return self.terminated | self.truncated

    @property
    def resets(self) -> Bool[Array, "*batch time"]:
        """Whether an observation begins an episode, so that memory starts anew before it.

        The first of a trajectory never does: `memory` was reset where it had to be.
        """
        done = self.done
        return jnp.concatenate([jnp.zeros_like(done[..., :1]), done[..., :-1]], axis=-1)
