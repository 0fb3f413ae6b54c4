"""Transforms around another transform."""

from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx._core.arguments import check_count
from lerax_fx._core.chain import as_chain
from lerax_fx._core.metrics import mean_over_time
from lerax_fx._core.scan import Carry, conditional_update, scan
from lerax_fx._core.transform import In_contra, Out_co, Shapes, Step, Transform
from lerax_fx.typing import Count, Key, Metrics, Tree

D = TypeVar("D")
In = TypeVar("In")
Out = TypeVar("Out")


class Wrapper(Transform[In_contra, Out_co]):
    """A stage around another one, `inner`; subclass it for one of your own.

        class Twice(fx.Wrapper[D, D]):
            def update(self, agent, state, data, key):
                keys = jax.random.split(key)
                step = self.inner.update(agent, state, data, keys[0])
                return self.inner.update(step.agent, step.state, data, keys[1])

    `inner` becomes a chain, if it is none, which checks what its stages do and names them in
    errors, states and metrics; `update` gives on the metrics that it gives. The state is that
    of `inner` unless `init` says otherwise. What a wrapper takes and gives is what `inner` does
    where `Wrapper[In, Out]` leaves it open.

    - `inner`: the stage within.

    **Raises:** `WiringError` if `inner` is no transform.
    """

    inner: Transform[Any, Any] = eqx.field(converter=as_chain)

    @property
    def types(self) -> tuple[Any, Any]:
        wanted, given = super().types
        inner_wanted, inner_given = self.inner.types
        return (
            inner_wanted if wanted is Any else wanted,
            inner_given if given is Any else given,
        )

    def init(self, agent: Tree, data: Shapes, key: Key) -> Tree:
        return self.inner.init(agent, data, key)


@final
class Repeat(Wrapper[In_contra, Out_co]):
    """See [`repeat`][lerax_fx.repeat]."""

    times: int = eqx.field(static=True)

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


def repeat(times: int, inner: Transform[In, Out]) -> Repeat[In, Out]:
    """Run `inner` `times` times on the same data, carrying the agent and its state over.

    The output is the last one's; metrics are means over the repetitions.
    `repeat(1, a)` acts as `chain(a)`.

    **Raises:** `HyperparameterError` if `times` is not an int of at least 1.
    """
    return Repeat(as_chain(inner, "repeat: inner"), check_count("repeat: times", times))


@final
class EveryState(eqx.Module):
    """`updates` so far, and the inner transform's state."""

    updates: Count
    inner: Tree


@final
class Every(Wrapper[D, D]):
    """See [`every`][lerax_fx.every]."""

    period: int = eqx.field(static=True)

    @property
    def types(self) -> tuple[Any, Any]:
        wanted = self.inner.types[0]
        return wanted, wanted

    def init(self, agent: Tree, data: Shapes, key: Key) -> EveryState:
        return EveryState(jnp.zeros((), jnp.int32), self.inner.init(agent, data, key))

    def update(self, agent: Tree, state: EveryState, data: D, key: Key) -> Step[D]:
        def run(carry: Carry) -> tuple[Carry, Metrics]:
            step = self.inner.update(*carry, data, key)
            return (step.agent, step.state), step.metrics

        carry = agent, state.inner
        if self.period == 1:
            (agent, inner), metrics = run(carry)
        else:
            due = state.updates % self.period == 0
            (agent, inner), metrics = conditional_update(due, run, carry)
        return Step(agent, EveryState((state.updates + 1) % self.period, inner), data, metrics)


def every(period: int, inner: Transform[D, Any]) -> Every[D]:
    """Run `inner` in updates 0, `period`, 2 `period`, ...; give its data on unchanged.

    Metrics of updates that skip it are NaN, and are left out of means. Under `jax.vmap` with a
    batched state, XLA computes both branches and selects.

    **Raises:** `HyperparameterError` if `period` is not an int of at least 1.
    """
    return Every(as_chain(inner, "every: inner"), check_count("every: period", period))
