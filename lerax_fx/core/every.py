"""A transform in every n-th update only."""

from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx.core.bounds import check_count
from lerax_fx.core.hyperparameters import is_hyperparameter
from lerax_fx.core.transform import Inside, Step, Transform
from lerax_fx.core.wiring import check_is_transform
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
        changing = agent, state.inner
        arrays: Tree
        fixed: Tree
        arrays, fixed = eqx.partition(changing, is_hyperparameter)

        def run(arrays: Tree) -> tuple[Tree, Metrics]:
            agent, inner_state = eqx.combine(arrays, fixed)
            step = self.inner.update(agent, inner_state, data, key)
            return eqx.filter((step.agent, step.state), is_hyperparameter), step.metrics

        # The data stays outside of the cond: only what changes goes through it.
        shapes = jax.eval_shape(run, arrays)[1]

        def skip(arrays: Tree) -> tuple[Tree, Metrics]:
            return arrays, {name: _absent(shape) for name, shape in shapes.items()}

        due = state.updates % self.period == 0
        arrays, metrics = jax.lax.cond(due, run, skip, arrays)
        agent, inner_state = eqx.combine(arrays, fixed)
        return Step(agent, EveryState(state.updates + 1, inner_state), data, metrics)

    def inside(self, agent: Tree, state: EveryState, data: D, key: Key) -> Inside:
        del agent, key
        return Inside(self.inner, state.inner, data)


def _absent(shape: jax.ShapeDtypeStruct) -> Any:
    """What a metric is in an update that did not measure it: NaN, or 0 for whole numbers."""
    missing = jnp.nan if jnp.issubdtype(shape.dtype, jnp.inexact) else 0
    return jnp.full(shape.shape, missing, shape.dtype)


def every(period: int, inner: Transform[D, Any]) -> Every[D]:
    """Run `inner` in updates 0, `period`, 2 `period`, ...; give its data on unchanged.

    Metrics of updates that skip it are NaN. Note that under `jax.vmap` with a batched
    state, XLA computes both branches and selects.

    **Raises:** `HyperparameterError` if `period` is not an int of at least 1.
    """
    check_is_transform("every: inner", inner)
    return Every(inner, check_count("every: period", period))
