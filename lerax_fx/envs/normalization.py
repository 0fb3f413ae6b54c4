"""Wrappers that normalise observations and rewards by running statistics."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lerax_fx._core.arguments import check_number
from lerax_fx.envs.env import Env
from lerax_fx.envs.registry import make
from lerax_fx.envs.statistics import RunningStatistics
from lerax_fx.envs.timed_space import TimedSpace
from lerax_fx.envs.wrappers import AbstractWrapper, WrapperState, check_shape, first_of_batch
from lerax_fx.errors import EnvironmentSetupError, format_error
from lerax_fx.spaces import Box, Space
from lerax_fx.typing import Interval, Key, Scalar, ScalarLike, Tree


@final
class NormalizeObservation(AbstractWrapper):
    """Normalise observations by their running mean and variance.

    As `VecNormalize` of OpenAI's baselines does. The statistics are shared by all
    environments of a batch and outlive episodes. Each observation that is acted on counts
    once, when the step from it is taken; so what is seen before the first step is not
    normalised, only clipped. Entries that are not finite, or beyond 1e15, are not counted; an
    infinite one is clipped, a NaN stays one.

    **Arguments:**

    - `env`: an `Env`, or what [`make`][lerax_fx.make] makes one of. Its observations must
      be one array of floats.
    - `clip`: the largest magnitude that is let through.
    - `epsilon`: added to the variance.
    - `statistics`: fixed ones, which are never updated.
      [`freeze_statistics`][lerax_fx.envs.freeze_statistics] takes them out of a state.

    **Raises:** `EnvironmentSetupError` for observations of another kind;
    `HyperparameterError` for a `clip` that is not positive, a negative `epsilon`, or
    `statistics` of another shape than the observations.
    """

    env: Env
    clip: ScalarLike
    epsilon: ScalarLike
    statistics: RunningStatistics | None

    def __init__(
        self,
        env: Any,
        *,
        clip: ScalarLike = 10.0,
        epsilon: ScalarLike = 1e-8,
        statistics: RunningStatistics | None = None,
    ):
        self.env = make(env)
        _require_floats(self.env)
        positive = Interval(0.0, open_low=True)
        self.clip = check_number("NormalizeObservation: clip", clip, positive)
        self.epsilon = check_number("NormalizeObservation: epsilon", epsilon, Interval(0.0))
        self.statistics = statistics
        if statistics is not None:
            check_shape("NormalizeObservation", statistics, self.env.observation_space.shape)

    def wrap_observation_space(self, space: Space) -> Box:
        limit = jnp.asarray(self.clip)
        return Box(-limit, limit, space.shape, space.dtype)

    def wrap_observation(
        self, memory: RunningStatistics | tuple[()], observation: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        statistics = memory if isinstance(memory, RunningStatistics) else self.statistics
        assert statistics is not None, "a memory without statistics is that of fixed ones"
        normal = statistics.normalize(observation, self.epsilon)
        limit = jnp.asarray(self.clip)
        return jnp.clip(normal, -limit, limit).astype(observation.dtype)

    def first_memory(self) -> RunningStatistics | tuple[()]:
        if self.statistics is not None:
            return ()
        return RunningStatistics.start(self.env.observation_space.shape)

    def next_memory(
        self, state: WrapperState, action: Tree, next_state: Tree, *, key: Key
    ) -> RunningStatistics | tuple[()]:
        del action, next_state
        if self.statistics is not None:
            return ()
        # The observation acted on, not the one that follows: that one may be the end of
        # an episode, and the first of the next would never be counted.
        acted_on = self.env.observation(state.env, key=key)
        return state.memory.merge(RunningStatistics.across_environments(acted_on))

    def restart_memory(self, memory: Tree, reset_state: Tree) -> Tree:
        del reset_state
        return memory

    def freeze(self, memory: Tree) -> "NormalizeObservation":
        if self.statistics is not None:
            return self
        return NormalizeObservation(
            self.env,
            clip=self.clip,
            epsilon=self.epsilon,
            statistics=first_of_batch(memory, self.first_memory()),
        )


def _require_floats(env: Env) -> None:
    space = env.observation_space
    if isinstance(space, Box) and jnp.issubdtype(space.dtype, jnp.floating):
        return
    raise EnvironmentSetupError(
        format_error(
            "NormalizeObservation: env",
            wanted="observations that are one array of floats (a Box)",
            got=f"{env.name} with {space!r}",
            fix=_remedy(space),
        )
    )


def _remedy(space: Space) -> str:
    if isinstance(space, TimedSpace):
        return "Put it inside of fx.envs.IrregularTime, with fixed `statistics`."
    if isinstance(space, Box) and space.dtype == np.uint8:
        return "Leave the wrapper out: agents bring bytes to [0, 1] themselves."
    return "Wrap it in fx.envs.FlattenObservation first."


@final
class RewardMemory(eqx.Module):
    """The state of `NormalizeReward`.

    - `reward`: the last one, before it was scaled.
    - `discounted`: the discounted sum of the episode's rewards so far; those that are not
      finite are left out.
    - `statistics`: those of `discounted`, over all environments and episodes.
    """

    reward: Scalar
    discounted: Scalar
    statistics: RunningStatistics


@final
class NormalizeReward(AbstractWrapper):
    """Divide rewards by the running standard deviation of the discounted return.

    After Engstrom et al., "Implementation Matters in Deep Policy Gradients" (2020), and
    `VecNormalize` of OpenAI's baselines: nothing is subtracted, the sign stays. The
    statistics are shared by all environments of a batch and outlive episodes. The reward
    as it was is in `info["unscaled_reward"]`; episode returns are counted with that.

    Where observations are [`Timed`][lerax_fx.data.Timed], the sum before a step is discounted by
    `discount ** dt`, with `dt` the time that the step took, as estimators discount the values
    after it. A reward that is not finite is left out of the sum.

    **Arguments:**

    - `env`: an `Env`, or what [`make`][lerax_fx.make] makes one of.
    - `discount`: in [0, 1]; that of the algorithm.
    - `clip`: the largest magnitude that is let through.
    - `epsilon`: added to the variance.
    - `statistics`: fixed ones, which are never updated.
      [`freeze_statistics`][lerax_fx.envs.freeze_statistics] takes them out of a state.

    **Raises:** `HyperparameterError` for values out of range, and for `statistics` that are
    not of one number.
    """

    env: Env
    discount: ScalarLike
    clip: ScalarLike
    epsilon: ScalarLike
    statistics: RunningStatistics | None

    def __init__(
        self,
        env: Any,
        *,
        discount: ScalarLike = 0.99,
        clip: ScalarLike = 10.0,
        epsilon: ScalarLike = 1e-8,
        statistics: RunningStatistics | None = None,
    ):
        self.env = make(env)
        positive = Interval(0.0, open_low=True)
        self.discount = check_number("NormalizeReward: discount", discount, Interval(0.0, 1.0))
        self.clip = check_number("NormalizeReward: clip", clip, positive)
        self.epsilon = check_number("NormalizeReward: epsilon", epsilon, Interval(0.0))
        self.statistics = statistics
        if statistics is not None:
            check_shape("NormalizeReward", statistics, ())

    def wrap_reward(self, memory: RewardMemory, reward: Scalar) -> Scalar:
        # The remembered one, not `reward`: where rewards are random, that one was drawn
        # anew, and would not be the `unscaled_reward` that is reported.
        del reward
        scaled = memory.reward / memory.statistics.scale(self.epsilon)
        limit = jnp.asarray(self.clip)
        return jnp.clip(scaled, -limit, limit)

    def memory_info(self, memory: RewardMemory) -> dict[str, Any]:
        return {"unscaled_reward": memory.reward}

    def first_memory(self) -> RewardMemory:
        nothing = jnp.zeros(())
        return RewardMemory(nothing, nothing, self.statistics or RunningStatistics.start(()))

    def next_memory(
        self, state: WrapperState, action: Tree, next_state: Tree, *, key: Key
    ) -> RewardMemory:
        reward = self.env.reward(state.env, action, next_state, key=key)
        memory: RewardMemory = state.memory
        known = jnp.where(jnp.isfinite(reward), reward, 0.0)
        discount = self._discount_over(next_state, key)
        discounted = known + discount * memory.discounted
        if self.statistics is not None:
            return RewardMemory(reward, discounted, self.statistics)
        seen = RunningStatistics.across_environments(discounted)
        return RewardMemory(reward, discounted, memory.statistics.merge(seen))

    def _discount_over(self, next_state: Tree, key: Key) -> ScalarLike:
        """What is left of a unit of reward after the step that led to `next_state`."""
        if not isinstance(self.env.observation_space, TimedSpace):
            return self.discount
        # Of the observation only its time is used; the rest is dead code.
        dt = self.env.observation(next_state, key=key).dt
        return jnp.asarray(self.discount) ** dt

    def restart_memory(self, memory: RewardMemory, reset_state: RewardMemory) -> RewardMemory:
        return RewardMemory(reset_state.reward, reset_state.discounted, memory.statistics)

    def freeze(self, memory: RewardMemory) -> "NormalizeReward":
        return NormalizeReward(
            self.env,
            discount=self.discount,
            clip=self.clip,
            epsilon=self.epsilon,
            statistics=first_of_batch(memory.statistics, self.first_memory().statistics),
        )
