"""Rewards normalised by running statistics."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp

from lerax_fx._core.arguments import check_number
from lerax_fx.envs.env import ENVIRONMENT_AXIS, Env
from lerax_fx.envs.registry import make
from lerax_fx.envs.timed_space import TimedSpace
from lerax_fx.envs.wrappers import AbstractWrapper, WrapperState
from lerax_fx.statistics import RunningStatistics
from lerax_fx.typing import Interval, Key, Scalar, ScalarLike, Tree


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

    For training only: an evaluation reports the unscaled rewards.

    **Raises:** `HyperparameterError` for values out of range.
    """

    env: Env
    discount: ScalarLike
    clip: ScalarLike
    epsilon: ScalarLike

    def __init__(
        self,
        env: Any,
        *,
        discount: ScalarLike = 0.99,
        clip: ScalarLike = 10.0,
        epsilon: ScalarLike = 1e-8,
    ):
        self.env = make(env)
        positive = Interval(0.0, open_low=True)
        self.discount = check_number("NormalizeReward: discount", discount, Interval(0.0, 1.0))
        self.clip = check_number("NormalizeReward: clip", clip, positive)
        self.epsilon = check_number("NormalizeReward: epsilon", epsilon, Interval(0.0))

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
        return RewardMemory(nothing, nothing, RunningStatistics.start(()))

    def next_memory(
        self, state: WrapperState, action: Tree, next_state: Tree, *, key: Key
    ) -> RewardMemory:
        reward = self.env.reward(state.env, action, next_state, key=key)
        memory: RewardMemory = state.memory
        known = jnp.where(jnp.isfinite(reward), reward, 0.0)
        discount = self._discount_over(next_state, key)
        discounted = known + discount * memory.discounted
        seen = RunningStatistics.across(discounted, ENVIRONMENT_AXIS)
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
