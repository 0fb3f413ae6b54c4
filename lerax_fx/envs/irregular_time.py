"""Observations at random intervals of time."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx._core.arguments import check_count
from lerax_fx.data import Timed
from lerax_fx.envs.env import Env
from lerax_fx.envs.normalization import NormalizeObservation, NormalizeReward
from lerax_fx.envs.registry import make
from lerax_fx.envs.timed_space import TimedSpace
from lerax_fx.envs.wrappers import AbstractEnclosing, WrapperState
from lerax_fx.errors import EnvironmentSetupError, format_error
from lerax_fx.spaces import Box, Space
from lerax_fx.typing import Count, Flag, Key, Scalar, Tree


@final
class Interval(eqx.Module):
    """What happened since the last observation.

    - `dt`: how many of the wrapped environment's steps were made; 0 at an episode's start.
    - `reward`: their rewards, summed; `earned`: the same before any wrapper changed them.
    - `terminated`, `truncated`: whether the last of them ended the episode.
    """

    dt: Scalar
    reward: Scalar
    earned: Scalar
    terminated: Flag
    truncated: Flag

    @staticmethod
    def start() -> "Interval":
        """Before the first step."""
        nothing, no = jnp.zeros(()), jnp.zeros((), bool)
        return Interval(nothing, nothing, nothing, no, no)

    @property
    def over(self) -> Flag:
        """Whether the episode ended."""
        return self.terminated | self.truncated


@final
class IrregularTime(AbstractEnclosing):
    """Observations at random intervals: each action is repeated for a random number of the wrapped
    environment's steps, uniform from 1 to `max_steps`, and only the last state is observed. An
    episode that ends within an interval ends it.

    Observations are [`Timed`][lerax_fx.data.Timed]: the wrapped environment's, and how many of
    its steps were made since the one before, `dt`. Time is measured in these steps, so the
    discount of an estimator is that of one of them: what follows an interval is discounted
    by `discount ** dt`. Rewards within an interval are summed as they are, without
    discount, so that the return of an episode is what it would be without this wrapper.

    Limits of time inside (gymnax's own, or [`TimeLimit`][lerax_fx.envs.TimeLimit]) count the
    wrapped environment's steps; `steps`, `episode_length` and a `TimeLimit` around this
    count observations. What the wrapped environment reports about its transitions is
    left out, except for `info["unscaled_reward"]`.

    Wrappers that change observations belong inside. Statistics that environments share
    cannot be kept inside, because intervals differ: put
    [`NormalizeReward`][lerax_fx.envs.NormalizeReward] around this.

    **Arguments:**

    - `env`: an `Env`, or what [`make`][lerax_fx.make] makes one of.
    - `max_steps`: of the longest interval, an int of at least 1.

    **Raises:** `HyperparameterError` for another `max_steps`; `EnvironmentSetupError` for an
    environment whose running statistics are not fixed, or whose observations are
    [`Timed`][lerax_fx.data.Timed] already.
    """

    env: Env
    max_steps: int = eqx.field(static=True)

    def __init__(self, env: Any, max_steps: int = 5):
        self.env = make(env)
        _check_statistics(self.env)
        _check_untimed(self.env)
        self.max_steps = check_count("IrregularTime: max_steps", max_steps)

    @property
    def action_space(self) -> Space:
        return self.env.action_space

    @property
    def observation_space(self) -> TimedSpace:
        return TimedSpace(self.env.observation_space, Box(0.0, float(self.max_steps)))

    def initial(self, *, key: Key) -> WrapperState:
        return WrapperState(self.env.initial(key=key), Interval.start())

    def transition(self, state: WrapperState, action: Tree, *, key: Key) -> WrapperState:
        length_key, steps_key = jax.random.split(key)
        length = jax.random.randint(length_key, (), 1, self.max_steps + 1)

        def one_step(now: WrapperState, step: tuple[Count, Key]) -> tuple[WrapperState, None]:
            index, step_key = step
            following = self._one_step(now, action, step_key)
            waits = (index >= length) | now.memory.over
            return jax.tree.map(lambda a, b: jnp.where(waits, a, b), now, following), None

        begin = WrapperState(state.env, Interval.start())
        steps = jnp.arange(self.max_steps), jax.random.split(steps_key, self.max_steps)
        return jax.lax.scan(one_step, begin, steps)[0]

    def observation(self, state: WrapperState, *, key: Key) -> Timed:
        return Timed(self.env.observation(state.env, key=key), state.memory.dt)

    def reward(
        self, state: WrapperState, action: Tree, next_state: WrapperState, *, key: Key
    ) -> Scalar:
        del state, action, key
        return next_state.memory.reward

    def terminal(self, state: WrapperState, *, key: Key) -> Flag:
        del key
        return state.memory.terminated

    def truncate(self, state: WrapperState) -> Flag:
        return state.memory.truncated

    def state_info(self, state: WrapperState) -> dict[str, Any]:
        return self.env.state_info(state.env)

    def transition_info(
        self, state: WrapperState, action: Tree, next_state: WrapperState
    ) -> dict[str, Any]:
        del state, action
        return {"unscaled_reward": next_state.memory.earned}

    def restart(self, state: WrapperState, reset_state: WrapperState) -> WrapperState:
        return WrapperState(self.env.restart(state.env, reset_state.env), reset_state.memory)

    def _one_step(self, now: WrapperState, action: Tree, key: Key) -> WrapperState:
        timestep = self.env.advance(now.env, action, key=key)
        before: Interval = now.memory
        after = Interval(
            before.dt + 1.0,
            before.reward + timestep.reward,
            before.earned + timestep.info.get("unscaled_reward", timestep.reward),
            timestep.terminated,
            timestep.truncated,
        )
        return WrapperState(timestep.state, after)


def _check_untimed(env: Env) -> None:
    if isinstance(env.observation_space, TimedSpace):
        raise EnvironmentSetupError(
            format_error(
                "IrregularTime: env",
                wanted="observations without a time of their own",
                got=f"{env.name} with {env.observation_space!r}",
                fix="Wrap it once: `dt` would count intervals, not the time that passed.",
            )
        )


def _check_statistics(env: Env) -> None:
    inner = env
    while isinstance(inner, AbstractEnclosing):
        if isinstance(inner, NormalizeObservation | NormalizeReward) and inner.statistics is None:
            raise EnvironmentSetupError(
                format_error(
                    "IrregularTime: env",
                    wanted="an environment without running statistics, or with fixed ones",
                    got=env.name,
                    fix="Put fx.envs.NormalizeReward around fx.envs.IrregularTime."
                    if isinstance(inner, NormalizeReward)
                    else "Give fx.envs.NormalizeObservation its `statistics`.",
                )
            )
        inner = inner.env
