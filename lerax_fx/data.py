"""The data that stages pass on: rollouts, estimates, transitions and targets."""

import dataclasses
from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, ScalarLike

from lerax_fx._core.arrays import Checked, check_leading_axes
from lerax_fx._core.wiring import register_producer
from lerax_fx.typing import Tree

T = TypeVar("T")


@final
class Timed(eqx.Module):
    """An observation with the time that passed since the one before, `dt`, in the environment's
    units of time; 0 at an episode's start.
    """

    value: Tree
    dt: Float[Array, "*batch"]


class AbstractTransitions(Checked):
    """Steps of trajectories: what [`Rollout`][] and [`Transitions`][] have in common.

    - `observation`, `action`, `reward`: of each step.
    - `terminated`: whether the episode came to an end of its own: nothing is bootstrapped from.
    - `truncated`: whether the episode was cut (a time limit): the value of `next_observation` is
      bootstrapped from. Both end an episode.
    - `next_observation`: what the action led to, before any reset.
    - `memory`: the agent's hidden state before the first step of each trajectory, without a time
      axis; it has no leaves for a feedforward agent.
    """

    observation: Tree
    action: Tree
    reward: Float[Array, "*batch time"]
    terminated: Bool[Array, "*batch time"]
    truncated: Bool[Array, "*batch time"]
    next_observation: Tree
    memory: Tree = eqx.field(default=None, kw_only=True)

    def __check_init__(self) -> None:
        fields = {
            "observation": self.observation,
            "action": self.action,
            "next_observation": self.next_observation,
        }
        check_leading_axes(type(self).__name__, self.reward.shape, fields)

    @property
    def done(self) -> Bool[Array, "*batch time"]:
        """Episode boundaries: whether the step terminated or was truncated."""
        return self.terminated | self.truncated

    @property
    def resets(self) -> Bool[Array, "*batch time"]:
        """Whether an observation begins an episode, so that the hidden state is reset before it.

        The first of a trajectory never does: `memory` was reset where it had to be.
        """
        done = self.done
        return jnp.concatenate([jnp.zeros_like(done[..., :1]), done[..., :-1]], axis=-1)


register_producer("Rollout", "fx.rollout(...)")


@final
class Rollout(AbstractTransitions):
    """Trajectories of the agent in its environments: one, or a batch; time is the last leading
    axis.

    - `observation`, `action`, `reward`, `terminated`, `truncated`, `next_observation`, `memory`:
      as in [`AbstractTransitions`][].
    - `log_prob`: of the action, under the behaviour policy.
    - `value`: the agent's estimate at `observation`.
    - `next_value`: its estimate at `next_observation`; 0 where terminated.
    - `distribution`, `info`: the distribution that the action was sampled from, and what else the
      environment reported; `None` unless `rollout(keep=...)` names them.

    **Raises:** `WiringError` if an observation or action does not begin with the reward's
    axes.
    """

    log_prob: Float[Array, "*batch time"]
    value: Float[Array, "*batch time"]
    next_value: Float[Array, "*batch time"]
    distribution: Any = None
    info: Tree = None

    def __check_init__(self) -> None:
        kept = {"distribution": self.distribution, "info": self.info}
        check_leading_axes("Rollout", self.reward.shape, kept)


register_producer("Estimates", "fx.gae(...), or another estimator,")


@final
class Estimates(Checked):
    """A rollout with advantages and value targets.

    - `rollout`: what it was estimated from.
    - `advantage`: how much better the action was than the policy's average.
    - `target`: an estimate of the return from `rollout.observation` on, for the value
      function to learn.
    """

    rollout: Rollout
    advantage: Float[Array, "*batch time"]
    target: Float[Array, "*batch time"]

    def __check_init__(self) -> None:
        _of_one_shape(self.rollout.reward, self.advantage, self.target)


def _of_one_shape(
    reward: Float[Array, "*batch time"],
    advantage: Float[Array, "*batch time"],
    target: Float[Array, "*batch time"],
) -> None:
    """Checked where the type checks are on."""
    del reward, advantage, target


register_producer("Transitions", "fx.replay(...), around this stage,")


@final
class Transitions(AbstractTransitions):
    """Transitions of any behaviour policy, in windows of trajectories; time is the last leading
    axis.

    - `observation`, `action`, `reward`, `terminated`, `truncated`, `next_observation`, `memory`:
      as in [`AbstractTransitions`][].
    - `weight`: the importance weight of each window in a loss, without a time axis; `None` for 1.
      Stages give it on; losses give priorities where it is there.
    - `priority`: of each window, for a replay that samples by priorities: set by the stage that
      learns from the data.

    **Raises:** `WiringError` if an observation or action does not begin with the reward's
    axes.
    """

    weight: Float[Array, "*batch"] | None = None
    priority: Float[Array, "*batch"] | None = None

    @staticmethod
    def of(rollout: Rollout) -> "Transitions":
        """The transitions of a rollout, without log-probabilities and values."""
        shared = (field.name for field in dataclasses.fields(AbstractTransitions))
        return Transitions(**{name: getattr(rollout, name) for name in shared})


register_producer("Targets", "fx.td_target(...), fx.q_lambda_returns(...) or another target")


@final
class Targets(Checked):
    """Targets of Q-values or values, with what they are targets of.

    - `observation`, `action`: what is valued.
    - `target`: an estimate of the return from there on.
    - `weight`: of each trajectory, as in [`Transitions`][lerax_fx.data.Transitions].
    - `memory`, `resets`: for a recurrent agent, its hidden state before the first step of
      each trajectory, and whether an observation begins an episode (`None` if none does).
    - `priority`: of each trajectory, for a replay that samples by priorities: set by the stage that
      learns from the data.

    **Raises:** `WiringError` if an observation or action does not begin with the target's
    axes.
    """

    observation: Tree
    action: Tree
    target: Float[Array, "*batch time"]
    weight: Float[Array, "*batch"] | None = None
    memory: Tree = None
    resets: Bool[Array, "*batch time"] | None = None
    priority: Float[Array, "*batch"] | None = None

    def __check_init__(self) -> None:
        fields = {"observation": self.observation, "action": self.action}
        check_leading_axes("Targets", self.target.shape, fields)


register_producer("DistributionTargets", "fx.distributional_td_target(...)")


@final
class DistributionTargets(eqx.Module):
    """Targets of return distributions, with what they are targets of.

    - `observation`, `action`: what is valued.
    - `atoms`, `probabilities`: an estimate of how the return from there on is distributed.
    - `weight`, `priority`: of each trajectory, as in [`Transitions`][lerax_fx.data.Transitions].
    - `memory`, `resets`: as in [`Targets`][lerax_fx.data.Targets].

    **Raises:** `WiringError` if an observation or action does not begin with the axes that
    the atoms have before their last.
    """

    observation: Tree
    action: Tree
    atoms: Float[Array, "*batch time atoms"]
    probabilities: Float[Array, "*batch time atoms"]
    weight: Float[Array, "*batch"] | None = None
    memory: Tree = None
    resets: Bool[Array, "*batch time"] | None = None
    priority: Float[Array, "*batch"] | None = None

    def __check_init__(self) -> None:
        fields = {"observation": self.observation, "action": self.action}
        check_leading_axes("DistributionTargets", self.atoms.shape[:-1], fields)


PER_TRAJECTORY = ("memory", "weight", "priority")
"""The fields, of whatever type of data, whose arrays have no time axis."""


def split_time_axis(data: T) -> tuple[T, T]:
    """Data whose arrays have a time axis, and the rest, which has one value a trajectory: the
    fields called `memory`, `weight` and `priority`, of any type. Each has `None` for the other's
    arrays; `equinox.combine` puts them together.
    """

    def has_time(path: Any, leaf: Any) -> bool:
        del leaf
        return not any(getattr(entry, "name", None) in PER_TRAJECTORY for entry in path)

    steps, starts = eqx.partition(data, jax.tree_util.tree_map_with_path(has_time, data))
    return steps, starts


def durations(trajectories: Rollout | Transitions) -> Float[Array, "*batch time"] | None:
    """The duration of each step: the `dt` of its next observation. `None` where observations are
    not [`Timed`][lerax_fx.data.Timed], and all steps take equally long.
    """
    following = trajectories.next_observation
    return following.dt if isinstance(following, Timed) else None


def discounts(trajectories: Rollout | Transitions, discount: ScalarLike) -> Any:
    """The discount of each step: `discount ** dt`, `(*batch, time)`.

    Without `Timed` observations it is `discount` itself, and the program is as without times.
    """
    dt = durations(trajectories)
    return discount if dt is None else jnp.asarray(discount) ** dt


__all__ = [
    "DistributionTargets",
    "Estimates",
    "Rollout",
    "Targets",
    "Timed",
    "Transitions",
]
