"""Learning from steps that were taken earlier."""

from typing import Any, final

import equinox as eqx
import jax

from lerax_fx.core.arguments import known_names
from lerax_fx.core.axes import common_axes
from lerax_fx.core.bounds import check_count
from lerax_fx.core.repeat import mean_over_time
from lerax_fx.core.scan import scan
from lerax_fx.core.transform import Inside, Step, Transform
from lerax_fx.core.when import Changing, when
from lerax_fx.core.wiring import check_is_transform, check_within
from lerax_fx.data.rollout import Rollout
from lerax_fx.data.transitions import Transitions
from lerax_fx.errors import HyperparameterError, WiringError, explain
from lerax_fx.replay.ring import Ring
from lerax_fx.types import Key, Metrics, Tree


@final
class ReplayState(eqx.Module):
    """What is remembered, and the inner transform's state."""

    ring: Ring
    inner: Tree


@final
class Replay(Transform[Rollout, Rollout]):
    """See [`replay`][lerax_fx.replay]."""

    inner: Transform[Transitions, Any]
    capacity: int = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    warmup: int = eqx.field(static=True)
    updates_per_step: int = eqx.field(static=True)
    length: int = eqx.field(static=True)

    @property
    def keeps_data(self) -> bool:
        return True

    def init(self, agent: Tree, key: Key) -> Tree:
        raise WiringError(
            explain(
                "replay: init",
                wanted="to know what will come",
                got="no data",
                fix="Put it in a chain behind fx.rollout(...), or call init_for with the data.",
            )
        )

    def init_for(self, agent: Tree, key: Key, data: Rollout) -> ReplayState:
        like = jax.eval_shape(Transitions.of, data)
        ring = Ring.empty(like, self._rows(*common_axes("replay: data", like, 2)))
        return ReplayState(ring, self.inner.init(agent, key))

    def update(self, agent: Tree, state: ReplayState, data: Rollout, key: Key) -> Step[Rollout]:
        sample_key, learn_key = jax.random.split(key)
        ring = state.ring.add(Transitions.of(data))
        # Drawn outside of the cond, which would copy the ring.
        index = ring.windows(sample_key, self.updates_per_step * self.batch_size, self.length)
        batches = ring.take(index.reshape(self.updates_per_step, self.batch_size, self.length))
        keys = jax.random.split(learn_key, self.updates_per_step)

        def learn(changing: Changing, xs: Any) -> tuple[Changing, Metrics]:
            batch, key = xs
            step = self.inner.update(*changing, batch, key)
            return (step.agent, step.state), step.metrics

        def run(changing: Changing) -> tuple[Changing, Metrics]:
            changing, metrics = scan(learn, changing, (batches, keys))
            return changing, mean_over_time(metrics)

        steps = ring.rows * ring.num_envs
        warm = ring.filled * ring.num_envs >= min(self.warmup, steps)
        warm &= ring.filled >= self.length
        (agent, inner), metrics = when(warm, run, (agent, state.inner))
        return Step(agent, ReplayState(ring, inner), data, metrics)

    def inside(self, agent: Tree, state: ReplayState, data: Rollout, key: Key) -> Inside:
        return Inside(self.inner, state.inner, self._batch(state.ring, key))

    def _batch(self, ring: Ring, key: Key) -> Any:
        """What the inner transform gets, in shapes alone."""

        def batch(ring: Ring, key: Key) -> Transitions:
            return ring.take(ring.windows(key, self.batch_size, self.length))

        return eqx.filter_eval_shape(batch, ring, key)

    def _rows(self, num_envs: int, num_steps: int) -> int:
        """As many as the capacity holds whole rollouts of."""
        rows = self.capacity // (num_envs * num_steps) * num_steps
        if rows < self.length:
            raise HyperparameterError(
                explain(
                    "replay: capacity",
                    wanted=f"room for a rollout of {num_envs} environments and {num_steps} steps, "
                    f"and for windows of {self.length}",
                    got=f"{self.capacity}",
                    fix="Raise capacity, or lower num_envs and num_steps of the rollout.",
                )
            )
        return rows


@known_names
def replay(
    inner: Transform[Transitions, Any],
    *,
    capacity: int,
    batch_size: int,
    warmup: int | None = None,
    updates_per_step: int = 1,
    length: int = 1,
) -> Replay:
    """Remember what comes, and run `inner` on what is drawn from memory.

    Lin 1992, "Self-Improving Reactive Agents Based on Reinforcement Learning, Planning and
    Teaching"; Mnih et al. 2015, "Human-level control through deep reinforcement learning".
    Windows are drawn uniformly, with replacement. The data is given on unchanged.

    **Arguments:**

    - `capacity`: how many steps are remembered, of all environments; rounded down to whole
      rollouts. The newest take the place of the oldest.
    - `batch_size`: how many windows `inner` gets at once: [`Transitions`][lerax_fx.Transitions]
      of `(batch_size, length)`.
    - `warmup`: how many steps must be there before `inner` is run, by default `batch_size`;
      and a whole window.
    - `updates_per_step`: how often it is run in each update.
    - `length`: of a window, in steps of one environment: `n` for targets over n steps.

    Metrics are means over the runs of `inner`; NaN while there is none.

    **Raises:** `HyperparameterError` for a count below 1, a warmup larger than the capacity,
    a batch larger than the warmup, or, when traced, a capacity too small for a rollout;
    `WiringError` if `inner` wants other data than transitions.
    """
    check_is_transform("replay: inner", inner)
    check_within("replay", inner, Transitions)
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
    )


def _check_order(where: str, value: int, other: str, limit: int) -> None:
    if value > limit:
        raise HyperparameterError(
            explain(
                where,
                wanted=f"at most {other}, {limit}",
                got=f"{value}",
                fix=f"Lower {where.split()[-1]}, or raise {other.split()[-1]}.",
            )
        )
