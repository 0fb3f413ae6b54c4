"""A transform in every n-th update only."""

from typing import Any, TypeVar, final

import equinox as eqx
import jax.numpy as jnp

from lerax_fx.core.bounds import check_count
from lerax_fx.core.transform import Inside, Step, Transform
from lerax_fx.core.when import Changing, when
from lerax_fx.core.wiring import check_is_transform, check_within
from lerax_fx.types import Count, Key, Metrics, Tree

D = TypeVar("D")


@final
class EveryState(eqx.Module):
    """`updates` so far, and the inner transform's state."""

    updates: Count
    inner: Tree


@final
class Every(Transform[D, D]):
    """See [`every`][lerax_fx.every]."""

    inner: Transform[D, Any]
    period: int = eqx.field(static=True)

    @property
    def draws(self) -> int:
        return min(1, self.inner.draws)

    @property
    def input_type(self) -> Any:
        return self.inner.input_type

    @property
    def output_type(self) -> Any:
        return self.inner.input_type

    def init(self, agent: Tree, key: Key) -> EveryState:
        return EveryState(jnp.zeros((), jnp.int32), self.inner.init(agent, key))

    def update(self, agent: Tree, state: EveryState, data: D, key: Key) -> Step[D]:
        def run(changing: Changing) -> tuple[Changing, Metrics]:
            step = self.inner.update(*changing, data, key)
            return (step.agent, step.state), step.metrics

        due = state.updates % self.period == 0
        (agent, inner_state), metrics = when(due, run, (agent, state.inner))
        return Step(agent, EveryState(state.updates + 1, inner_state), data, metrics)

    def inside(self, agent: Tree, state: EveryState, data: D, key: Key) -> Inside:
        del agent, key
        return Inside(self.inner, state.inner, data)


def every(period: int, inner: Transform[D, Any]) -> Every[D]:
    """Run `inner` in updates 0, `period`, 2 `period`, ...; give its data on unchanged.

    Metrics of updates that skip it are NaN, and are left out of means. Note that under
    `jax.vmap` with a batched state, XLA computes both branches and selects.

    **Raises:** `HyperparameterError` if `period` is not an int of at least 1.
    """
    check_is_transform("every: inner", inner)
    check_within("every", inner)
    return Every(inner, check_count("every: period", period))
