"""What a replay gives to learn from."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx._core.arrays import check_leading_axes
from lerax_fx._core.checked import Checked
from lerax_fx._core.wiring import provided_by
from lerax_fx.data.rollout import Rollout
from lerax_fx.types import Tree

provided_by("Transitions", "fx.replay(...), around this stage,")


@final
class Transitions(Checked):
    """Pieces of trajectories, whoever acted in them; time is the last of the leading axes.

    - `observation`, `action`, `reward`: what was seen, done, and earned for it.
    - `terminated`: whether the action ended the episode for good: nothing follows, and
      nothing is bootstrapped from.
    - `truncated`: whether the episode was cut (a time limit): what would have followed is
      bootstrapped from. Both end an episode.
    - `next_observation`: what the action led to, before any reset.
    - `weight`: how much each piece is to count in a loss, if they do not count alike: no time
      axis, and `None` otherwise. Stages give it on; losses report priorities where it is there.

    - `memory`: the agent's before the first step of each piece, without a time axis; it has no
      leaves for an agent without memory.
    - `priority`: of each trajectory, for a replay that samples by priorities: set by the stage that
      learns from the data.

    **Raises:** `WiringError` if an observation or action does not begin with the reward's
    axes.
    """

    observation: Tree
    action: Tree
    reward: Float[Array, "*batch time"]
    terminated: Bool[Array, "*batch time"]
    truncated: Bool[Array, "*batch time"]
    next_observation: Tree
    weight: Float[Array, "*batch"] | None = None
    memory: Tree = None
    priority: Float[Array, "*batch"] | None = None

    def __check_init__(self) -> None:
        fields = {
            "observation": self.observation,
            "action": self.action,
            "next_observation": self.next_observation,
        }
        check_leading_axes("Transitions", self.reward.shape, fields)

    @staticmethod
    def of(rollout: Rollout) -> "Transitions":
        """A rollout without what only its policy could say of it."""
        return Transitions(
            rollout.observation,
            rollout.action,
            rollout.reward,
            rollout.terminated,
            rollout.truncated,
            rollout.next_observation,
            memory=rollout.memory,
        )

    @property
    def without_memory(self) -> "Transitions":
        """The steps alone."""
        # Not made anew, for it may hold shapes instead of arrays.
        return eqx.tree_at(lambda data: data.memory, self, None, is_leaf=lambda x: x is None)

    @property
    def done(self) -> Bool[Array, "*batch time"]:
        """Whether the action ended the episode, one way or the other."""
        return self.terminated | self.truncated

    @property
    def resets(self) -> Bool[Array, "*batch time"]:
        """Whether an observation begins an episode; the first of a piece never does: its
        `memory` was reset where it had to be.
        """
        done = self.done
        return jnp.concatenate([jnp.zeros_like(done[..., :1]), done[..., :-1]], axis=-1)
