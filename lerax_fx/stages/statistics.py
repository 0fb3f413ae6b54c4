"""Updates of the statistics that agents keep."""

from typing import Any, TypeVar, final

import jax

from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx.agents.normalization import with_updated_statistics
from lerax_fx.data import Estimates, Rollout
from lerax_fx.errors import WiringError, format_error
from lerax_fx.stages.batches import check_whole_trajectories
from lerax_fx.typing import Key, Tree

T = TypeVar("T")


@final
class UpdateStatistics(Transform[T, T]):
    """See [`update_statistics`][lerax_fx.update_statistics]."""

    def init(self, agent: Tree, data: Shapes, key: Key) -> Tree:
        del agent, data, key
        return ()

    def update(self, agent: Any, state: Tree, data: T, key: Key) -> Step[T]:
        del key
        check_whole_trajectories(self.name, "Put it around minibatch, not within.")
        rollout = data.rollout if isinstance(data, Estimates) else data
        if not isinstance(rollout, Rollout):
            raise WiringError(
                format_error(
                    f"{self.name}: data",
                    wanted="a Rollout or Estimates",
                    got=f"a {type(data).__name__}",
                    fix="Put it behind fx.rollout(...), outside of fx.replay: there each "
                    "observation is counted once.",
                )
            )
        axes = rollout.reward.ndim
        observations = jax.tree.map(lambda x: jax.lax.collapse(x, 0, axes), rollout.observation)
        return Step(with_updated_statistics(self.name, agent, observations), state, data)


def update_statistics() -> UpdateStatistics[Any]:
    """Update the statistics of an agent of
    [`normalize_observations`][lerax_fx.agents.normalize_observations], or of another one with a
    method `update_statistics`, by a rollout; the data is given on unchanged.

        chain(rollout(...), gae(), minibatch(...), update_statistics())       # PPO
        chain(rollout(...), update_statistics(), replay(...))                 # DQN, SAC

    Each observation that was acted on counts once, of all environments and steps;
    `next_observation` does not count, since it is the next step's observation or the last one of an
    episode. It stands behind the stages that learn from the rollout where the losses compare with
    the policy that acted: so that the policy's probability ratios begin at 1.

    **Raises:** `WiringError`, when traced, for data that is no rollout or estimates, within a
    minibatch of single steps, and for an agent without statistics.
    """
    return UpdateStatistics()
