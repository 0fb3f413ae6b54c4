"""A transform several times over the same data."""

from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx.core.absent import absent, is_absent
from lerax_fx.core.bounds import check_count
from lerax_fx.core.scan import scan
from lerax_fx.core.transform import In_contra, Inside, Out_co, Step, Transform
from lerax_fx.core.wiring import check_is_transform, check_within
from lerax_fx.types import Key, Metrics, Tree

In = TypeVar("In")
Out = TypeVar("Out")


def mean_over_time(metrics: Metrics) -> Metrics:
    """The mean of each metric over its leading axis, what is absent left out: updates that were
    skipped, episodes that did not end. NaN that was measured stays NaN.

    Integers are counters: of these the last value counts.
    """

    def reduce(value: Any) -> Any:
        if not jnp.issubdtype(value.dtype, jnp.inexact):
            return value[-1]
        missing = is_absent(value)
        count = jnp.sum(~missing, axis=0)
        total = jnp.sum(jnp.where(missing, 0, value), axis=0)
        mean = total / jnp.maximum(count, 1)
        return jnp.where(count > 0, mean, absent(mean.shape, mean.dtype)).astype(value.dtype)

    return {name: reduce(value) for name, value in metrics.items()}


@final
class Repeat(Transform[In_contra, Out_co]):
    """See [`repeat`][lerax_fx.repeat]."""

    inner: Transform[In_contra, Out_co]
    times: int = eqx.field(static=True)

    @property
    def draws(self) -> int:
        return min(1, self.inner.draws)

    @property
    def input_type(self) -> Any:
        return self.inner.input_type

    @property
    def output_type(self) -> Any:
        return self.inner.output_type

    def init(self, agent: Tree, key: Key) -> Tree:
        return self.inner.init(agent, key)

    def update(self, agent: Tree, state: Tree, data: In_contra, key: Key) -> Step[Out_co]:
        if self.times == 1:
            return self.inner.update(agent, state, data, key)
        shapes = eqx.filter_eval_shape(self.inner.update, agent, state, data, key).out
        arrays, fixed = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
        no_output = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), arrays)

        def once(carry: tuple[Tree, Tree, Any], key: Key) -> tuple[Any, Metrics]:
            agent, state, _ = carry
            step = self.inner.update(agent, state, data, key)
            return (step.agent, step.state, step.out), step.metrics

        carry = agent, state, eqx.combine(no_output, fixed)
        (agent, state, out), metrics = scan(once, carry, jax.random.split(key, self.times))
        return Step(agent, state, out, mean_over_time(metrics))

    def inside(self, agent: Tree, state: Tree, data: In_contra, key: Key) -> Inside:
        del agent, key
        return Inside(self.inner, state, data)


def repeat(times: int, inner: Transform[In, Out]) -> Repeat[In, Out]:
    """Run `inner` `times` times over the same data, the agent and its state going on.

    The output is the last one's; metrics are means over the repetitions.
    `repeat(1, a)` acts as `a`.

    **Raises:** `HyperparameterError` if `times` is not an int of at least 1.
    """
    check_is_transform("repeat: inner", inner)
    check_within("repeat", inner)
    return Repeat(inner, check_count("repeat: times", times))
