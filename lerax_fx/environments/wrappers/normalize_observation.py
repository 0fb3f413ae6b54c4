"""Observations with mean 0 and variance 1."""

from typing import Any, final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lerax_fx._core.bounds import check_number
from lerax_fx.environments.env import Env
from lerax_fx.environments.make import make
from lerax_fx.environments.running_statistics import RunningStatistics
from lerax_fx.environments.spaces import Box, Space
from lerax_fx.environments.timed_space import TimedSpace
from lerax_fx.environments.wrappers.shared import check_shape, first_of_batch
from lerax_fx.environments.wrappers.wrapper import AbstractWrapper, WrapperState
from lerax_fx.errors import EnvironmentSetupError, explain
from lerax_fx.types import Interval, Key, ScalarLike, Tree


@final
class NormalizeObservation(AbstractWrapper):
    """Normalise observations by the mean and the variance of those acted on so far.

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
    - `statistics`: fixed ones, which are never updated. [`frozen`][lerax_fx.environments.frozen]
      takes them out of a state.

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

    def restart_memory(self, memory: Tree, fresh: Tree) -> Tree:
        del fresh
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
        explain(
            "NormalizeObservation: env",
            wanted="observations that are one array of floats (a Box)",
            got=f"{env.name} with {space!r}",
            fix=_remedy(space),
        )
    )


def _remedy(space: Space) -> str:
    if isinstance(space, TimedSpace):
        return "Put it inside of fx.IrregularTime, with fixed `statistics`."
    if isinstance(space, Box) and space.dtype == np.uint8:
        return "Leave the wrapper out: agents bring bytes to [0, 1] themselves."
    return "Wrap it in fx.FlattenObservation first."
