"""Experience replay."""

import dataclasses
from dataclasses import replace
from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx._core.arguments import check_count, check_flag, suggest_keywords
from lerax_fx._core.arrays import common_axes
from lerax_fx._core.chain import as_chain
from lerax_fx._core.metrics import mean_over_time
from lerax_fx._core.scan import Carry, conditional_update, scan
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx._core.wiring import check_in_order, reordering
from lerax_fx._core.wrapper import Wrapper
from lerax_fx._replay.buffer import RingBuffer
from lerax_fx._replay.sampling import AbstractSampling, SampledWindows, uniform
from lerax_fx.agents.protocols import check_pair
from lerax_fx.agents.unroll import check_has_memory
from lerax_fx.data import Rollout, Transitions, split_time_axis
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.stages.batches import check_whole_trajectories
from lerax_fx.typing import Key, Metrics, Tree

D = TypeVar("D")

_PRIORITY = "priority"
_AROUND = "Put minibatch within replay, not around it."


@final
class ReplayState(eqx.Module):
    """The replay buffer, the state of the stage within, and the state of the sampling."""

    ring: RingBuffer
    inner: Tree
    sampling: Tree


@final
class ReplayAhead(eqx.Module):
    """Random draws that depend only on the key: of the sampling, and of the stage within for each
    of its updates.
    """

    sample: Tree
    learn: Tree


@final
class Replay(Wrapper[D, D]):
    """See [`replay`][lerax_fx.replay]."""

    capacity: int = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    warmup: int = eqx.field(static=True)
    updates_per_step: int = eqx.field(static=True)
    length: int = eqx.field(static=True)
    sampling: AbstractSampling
    observations: int | None = eqx.field(static=True, default=None)
    memory: bool = eqx.field(static=True, default=True)

    @property
    def types(self) -> tuple[Any, Any]:
        wanted = self.inner.types[0]
        wanted = Rollout if wanted is Transitions else wanted
        return wanted, wanted

    def init(self, agent: Tree, data: Shapes, key: Key) -> ReplayState:
        check_whole_trajectories("replay", _AROUND)
        like = jax.eval_shape(self._stored, data())
        axes = common_axes("replay: data", split_time_axis(like)[0], 2)
        ring = RingBuffer.empty(like, self._rows(*axes), self._observations(like, *axes))
        self._check_length(ring.stride)
        sampling = self.sampling.init(ring)

        def batch() -> Tree:
            return jax.eval_shape(self._batch, ring, sampling, key)

        return ReplayState(ring, self.inner.init(agent, batch, key), sampling)

    def draw_ahead(self, key: Key) -> ReplayAhead:
        sample_key, learn_key = jax.random.split(key)
        keys = jax.random.split(learn_key, self.updates_per_step)
        sample = self.sampling.draw_ahead(sample_key, (self.updates_per_step, self.batch_size))
        return ReplayAhead(sample, jax.vmap(self.inner.draw_ahead)(keys))

    def update(self, agent: Tree, state: ReplayState, data: D, key: Key | ReplayAhead) -> Step[D]:
        check_whole_trajectories("replay", _AROUND)
        check_in_order("replay")
        ahead = key if isinstance(key, ReplayAhead) else self.draw_ahead(key)
        stored = self._stored(data)
        self._check_buffer(state.ring, stored)
        ring = state.ring.add(stored)
        count = common_axes("replay: data", split_time_axis(stored)[0], 2)[1]
        sampling = self.sampling.added(state.sampling, ring, count, self.length)
        # Drawn outside of the cond, which would copy the ring; priorities, as well, come out
        # of it and are written down behind it.
        shape = self.updates_per_step, self.batch_size
        drawn = self.sampling.draw(sampling, ring, self.length, ahead.sample, shape)
        batches = self._windows(ring, drawn)

        def learn(carry: Carry, xs: Any) -> tuple[Carry, tuple[Metrics, Metrics]]:
            batch, draws = xs
            with reordering("replay"):
                step = self.inner.update(*carry, batch, draws)
            return (step.agent, step.state), (step.metrics, self._priority(step.out))

        def run(carry: Carry) -> tuple[Carry, Metrics]:
            carry, (metrics, priority) = scan(learn, carry, (batches, ahead.learn))
            return carry, {**mean_over_time(metrics), **priority}

        steps = ring.rows * ring.num_envs
        warm = ring.filled * ring.num_envs >= min(self.warmup, steps)
        warm &= ring.stored >= self.length
        (agent, inner), metrics = conditional_update(warm, run, (agent, state.inner))
        if self.sampling.wants_priorities:
            sampling = self.sampling.update_priorities(
                sampling, drawn.first, metrics.pop(_PRIORITY)
            )
        if self.observations is not None:
            metrics = {**metrics, "stored": ring.stored * ring.num_envs}
        return Step(agent, ReplayState(ring, inner, sampling), data, metrics)

    def _stored(self, data: Any) -> Any:
        """What is stored of the data: of a rollout its transitions, unless `inner` wants it all."""
        if isinstance(data, Rollout) and self.inner.types[0] is not Rollout:
            data = Transitions.of(data)
        return data if self.memory else split_time_axis(data)[0]

    def _check_buffer(self, ring: RingBuffer, data: Tree) -> None:
        """**Raises:** `WiringError` for a state of a replay buffer of another size."""
        axes = common_axes("replay: data", split_time_axis(data)[0], 2)
        wanted, got = (self._rows(*axes), axes[0]), (ring.rows, ring.num_envs)
        if wanted != got:
            raise WiringError(
                format_error(
                    "replay: state",
                    wanted=f"a buffer of {wanted[0]} steps of {wanted[1]} environments",
                    got=f"one of {got[0]} steps of {got[1]}",
                    fix="Go on with a state of the same algorithm.",
                )
            )

    def _batch(self, ring: RingBuffer, sampling: Tree, key: Key) -> Tree:
        """What the inner transform gets."""
        shape = 1, self.batch_size
        ahead = self.sampling.draw_ahead(key, shape)
        drawn = self.sampling.draw(sampling, ring, self.length, ahead, shape)
        return jax.tree.map(lambda x: x[0], self._windows(ring, drawn))

    def _windows(self, ring: RingBuffer, drawn: SampledWindows) -> Any:
        """What was drawn, `(updates, batch, length)`."""
        windows = ring.sample(drawn.first, self.length)
        if drawn.weight is None:
            return windows
        if not hasattr(windows, "weight"):
            raise WiringError(
                format_error(
                    "replay: sampling",
                    wanted="data with a field `weight`, for the importance weights",
                    got=f"a {type(windows).__name__}",
                    fix="Add a field `weight: Array | None = None` to the type, or draw with "
                    "sampling=fx.uniform().",
                )
            )
        return dataclasses.replace(windows, weight=drawn.weight)

    def _priority(self, out: Any) -> Metrics:
        """The new priority of each window, if the sampling wants them.

        **Raises:** `WiringError` if they are not in what the inner transform gives.
        """
        if not self.sampling.wants_priorities:
            return {}
        priority, wanted = getattr(out, "priority", None), (self.batch_size,)
        if priority is not None and priority.shape == wanted:
            return {_PRIORITY: priority}
        raise WiringError(
            format_error(
                "replay: sampling",
                wanted=f"an inner transform that gives data with a `priority` of shape {wanted}",
                got=f"a {type(out).__name__} with "
                + ("none" if priority is None else f"one of shape {priority.shape}"),
                fix="Learn within by a loss that sets it, such as fx.q_loss(); set it in what your "
                "own stage gives; or draw with sampling=fx.uniform().",
            )
        )

    def _check_length(self, stride: int) -> None:
        if self.length < stride:
            raise HyperparameterError(
                format_error(
                    "replay: length",
                    wanted=f"at least the rollout's num_steps, {stride}: the agent's memory is "
                    "known where a rollout begins, and so windows begin there",
                    got=f"{self.length}",
                    fix="Raise length, or lower num_steps of the rollout.",
                )
            )

    def _rows(self, num_envs: int, num_steps: int) -> int:
        """The number of rows: as many whole rollouts as the capacity holds."""
        rows = self.capacity // (num_envs * num_steps) * num_steps
        if rows < self.length:
            raise HyperparameterError(
                format_error(
                    "replay: capacity",
                    wanted=f"room for a rollout of {num_envs} environments and {num_steps} steps, "
                    f"and for windows of {self.length}",
                    got=f"{self.capacity}",
                    fix="Raise capacity, or lower num_envs and num_steps of the rollout.",
                )
            )
        return rows

    def _observations(self, like: Any, num_envs: int, num_steps: int) -> int | None:
        """Of each environment, if they are looked up."""
        if self.observations is None:
            return None
        _check_alike(like)
        each = self.observations // num_envs
        # Twice as many as steps, however short episodes are, of a rollout and of a window.
        wanted = 2 * -(-self.length // num_steps) * num_steps
        if each < wanted:
            raise HyperparameterError(
                format_error(
                    "replay: observations",
                    wanted=f"at least {num_envs * wanted}, enough for {num_envs} environments' "
                    f"rollouts of {num_steps} steps and windows of {self.length} if an episode "
                    "ended at every step",
                    got=f"{self.observations}",
                    fix="Raise observations, or leave it out.",
                )
            )
        return min(each, 2 * self._rows(num_envs, num_steps))


@suggest_keywords
def replay(
    inner: Transform[Any, Any],
    *,
    capacity: int,
    batch_size: int,
    warmup: int | None = None,
    updates_per_step: int = 1,
    length: int = 1,
    sampling: AbstractSampling | None = None,
    observations: int | None = None,
    memory: bool = True,
) -> Replay[Any]:
    """Experience replay: store what comes in a replay buffer, and update `inner` on samples of it.

    Lin 1992, "Self-Improving Reactive Agents Based on Reinforcement Learning, Planning and
    Teaching"; Mnih et al. 2015, "Human-level control through deep reinforcement learning".
    Windows are drawn with replacement. The data is given on unchanged: a rollout, or any PyTree
    whose arrays begin with the axes `(environments, time)`, but for fields called `memory`,
    `weight` and `priority`, which have no time axis.

    **Arguments:**

    - `capacity`: the size of the replay buffer in steps, of all environments; rounded down to whole
      rollouts. The newest take the place of the oldest.
    - `batch_size`: how many windows `inner` gets at once, `(batch_size, length)`: of a rollout
      [`Transitions`][lerax_fx.data.Transitions], unless `inner` wants a `Rollout`; of other data
      its own type.
    - `warmup`: how many steps must be there before `inner` is run, by default `batch_size`;
      and a whole window.
    - `updates_per_step`: how often it is run in each update.
    - `length`: of a window, in steps of one environment: `n` for targets over n steps. For an
      agent with memory, whose memory at a window's start comes with it, windows begin where
      rollouts did, and `length` is at least the rollout's `num_steps`.
    - `sampling`: [`uniform`][lerax_fx.uniform] (the default) or
      [`prioritized`][lerax_fx.prioritized].
    - `observations`: how many are kept, of all environments; by default two for each step, its
      own and the next one. Given a number, each is kept once, which is half the memory where
      they are large: `T` steps of an episode have `T + 1`. A tenth more than `capacity` is
      enough for episodes of ten steps or more. Where they are so short that it is not, the
      oldest steps are dropped early, of all environments alike: samples are always right, and
      uniform over the stored windows.

    - `memory`: whether the agent's hidden state is stored with the steps. Without, windows begin
      anywhere and may have any length: for training what is not recurrent, such as a model.

    Metrics are means over the runs of `inner`; NaN while there is none. With `observations`
    there is `stored` as well: the number of steps that can be drawn.

    **Raises:** `HyperparameterError` for a count below 1, a warmup larger than the capacity,
    a batch larger than the warmup, `observations` that are no more than the capacity, or, when
    traced, a capacity or `observations` too small for a rollout; `WiringError`, when traced, if
    `inner` does not set the priorities that the sampling wants, or if next observations to be
    looked up are of other shapes or types.
    """
    inner = as_chain(inner, "replay: inner")
    capacity = check_count("replay: capacity", capacity)
    batch_size = check_count("replay: batch_size", batch_size)
    if warmup is None:
        warmup = batch_size
        _check_order("replay: batch_size", batch_size, "the capacity", capacity)
    check_count("replay: warmup", warmup)
    _check_order("replay: warmup", warmup, "the capacity", capacity)
    _check_order("replay: batch_size", batch_size, "the warmup", warmup)
    return Replay(
        inner,
        capacity,
        batch_size,
        warmup,
        check_count("replay: updates_per_step", updates_per_step),
        check_count("replay: length", length),
        _checked_sampling(sampling),
        _checked_observations(observations, capacity),
        check_flag("replay: memory", memory),
    )


def _checked_sampling(sampling: Any) -> AbstractSampling:
    if sampling is None:
        return uniform()
    if isinstance(sampling, AbstractSampling):
        return sampling
    raise WiringError(
        format_error(
            "replay: sampling",
            wanted="a sampling scheme",
            got=f"{sampling!r}",
            fix="Pass fx.uniform() or fx.prioritized().",
        )
    )


def _checked_observations(observations: Any, capacity: int) -> int | None:
    if observations is None:
        return None
    observations = check_count("replay: observations", observations)
    if observations > capacity:
        return observations
    raise HyperparameterError(
        format_error(
            "replay: observations",
            wanted=f"more than the capacity, {capacity}: an episode has one more than steps",
            got=f"{observations}",
            fix=f"Pass for instance {capacity + capacity // 10 + 1}, or leave it out.",
        )
    )


def _check_alike(like: Any) -> None:
    if not isinstance(like, Transitions):
        raise WiringError(
            format_error(
                "replay: observations",
                wanted="transitions, whose next observations are looked up",
                got=f"a {type(like).__name__}",
                fix="Leave observations out.",
            )
        )
    shapes = [
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
        for tree in (like.observation, like.next_observation)
    ]
    if shapes[0] != shapes[1]:
        raise WiringError(
            format_error(
                "replay: observations",
                wanted="next observations like observations, to be looked up among them",
                got=f"{shapes[1]} and {shapes[0]}",
                fix="Leave observations out: then both are stored.",
            )
        )


def _check_order(where: str, value: int, other: str, limit: int) -> None:
    if value > limit:
        raise HyperparameterError(
            format_error(
                where,
                wanted=f"at most {other}, {limit}",
                got=f"{value}",
                fix=f"Lower {where.split()[-1]}, or raise {other.split()[-1]}.",
            )
        )


@final
class BurnIn(Transform[Transitions, Transitions]):
    """See [`burn_in`][lerax_fx.burn_in]."""

    steps: int = eqx.field(static=True)

    def init(self, agent: Tree, data: Shapes, key: Key) -> tuple[()]:
        del agent, data, key
        return ()

    def update(
        self, agent: Any, state: tuple[()], data: Transitions, key: Key
    ) -> Step[Transitions]:
        check_has_memory("burn_in: data", data.memory)
        length = data.reward.shape[1]
        if length <= self.steps:
            raise WiringError(
                format_error(
                    "burn_in: steps",
                    wanted=f"windows of more than {self.steps} steps",
                    got=f"{length}",
                    fix=f"Draw longer ones: fx.replay(..., length={self.steps + 1}).",
                )
            )

        def burnt_in(window: Transitions, key: Key) -> Tree:
            first = jax.tree.map(lambda x: x[: self.steps], (window.observation, window.resets))
            unrolled = agent.unroll(window.memory, *first, key)
            memory, _ = check_pair("burn_in: agent: unroll", unrolled)
            over = window.done[self.steps - 1]
            return jax.tree.map(lambda a, b: jnp.where(over, a, b), agent.initial_memory(), memory)

        rest = jax.tree.map(lambda x: x[:, self.steps :], replace(data, weight=None, memory=None))
        keys = jax.random.split(key, data.reward.shape[0])
        out = replace(rest, weight=data.weight, memory=jax.vmap(burnt_in)(data, keys))
        return Step(agent, state, out)


@suggest_keywords
def burn_in(steps: int) -> BurnIn:
    """Burn-in: unroll the first steps of each window only to compute the hidden state for the
    others.

        replay(chain(burn_in(20), td_target(...), minimize(...)), length=60, ...)

    Kapturowski et al. 2019, "Recurrent Experience Replay in Distributed Reinforcement
    Learning" (R2D2), section 3: the stored hidden state is stale; after a few steps of unrolling
    it is nearly the one of the current parameters. Target networks get the online network's
    hidden state; no gradient goes through it. The steps are then removed from the window.

    **Raises:** `HyperparameterError` if `steps` is not an int of at least 1; `WiringError`, when
    traced, for windows that are not longer, or without memory.
    """
    return BurnIn(check_count("burn_in: steps", steps))
