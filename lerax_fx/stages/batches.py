"""Batches of data: minibatches over several epochs, data of several updates, datasets."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from types import NoneType
from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from lerax_fx._core.arguments import check_count, check_flag, suggest_keywords
from lerax_fx._core.arrays import Checked, common_axes
from lerax_fx._core.chain import as_chain
from lerax_fx._core.metrics import mean_over_time
from lerax_fx._core.runner import safe_increment
from lerax_fx._core.scan import Carry, conditional_update, scan
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx._core.wiring import check_in_order, reordering
from lerax_fx._core.wrapper import Wrapper
from lerax_fx.agents.unroll import has_memory
from lerax_fx.data import split_time_axis
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.typing import Count, Key, Metrics, Tree

# Set while a stage that cuts trajectories traces the stage within it: data alone does not tell
# whether its trajectories were longer before.
_CUT_BY: ContextVar[str | None] = ContextVar("cut_by", default=None)


@contextmanager
def cutting_trajectories(stage: str, cuts: bool = True) -> Generator[None]:
    """A context in which a stage cuts trajectories into single steps, if `cuts`."""
    if not cuts:
        yield
        return
    token = _CUT_BY.set(stage)
    try:
        yield
    finally:
        _CUT_BY.reset(token)


def check_whole_trajectories(where: str, fix: str | None = None) -> None:
    """Check that trajectories are whole, for stages that look from one step to the next.

    **Raises:** `WiringError` within a stage that cuts trajectories into single steps.
    """
    stage = _CUT_BY.get()
    if stage is None:
        return
    raise WiringError(
        format_error(
            where,
            wanted="whole trajectories",
            got=f"single steps, shuffled, within {stage!r}",
            fix=fix
            or f"Pass whole_trajectories=True to {stage}; or put {where} before it, and to "
            f"estimate anew in each epoch: fx.repeat(epochs, fx.chain(fx.recompute_values(), "
            f"fx.{where}(...), fx.{stage}(..., num_epochs=1))).",
        )
    )


D = TypeVar("D")


@final
class Minibatch(Wrapper[D, D]):
    """See [`minibatch`][lerax_fx.minibatch]."""

    num_epochs: int = eqx.field(static=True)
    num_minibatches: int = eqx.field(static=True)
    whole_trajectories: bool = eqx.field(static=True, default=False)

    @property
    def types(self) -> tuple[Any, Any]:
        wanted = self.inner.types[0]
        return wanted, wanted

    def init(self, agent: Tree, data: Shapes, key: Key) -> Tree:
        return self.inner.init(agent, lambda: self._shapes(agent, data()), key)

    def update(self, agent: Tree, state: Tree, data: D, key: Key) -> Step[D]:
        rows, size = self._rows(agent, data)
        cuts = not self._keeps_time(agent) and common_axes("minibatch: data", data, 2)[1] > 1

        def learn(carry: tuple[Tree, Tree], xs: Any) -> tuple[tuple[Tree, Tree], Metrics]:
            minibatch, key = xs
            with reordering("minibatch"), cutting_trajectories("minibatch", cuts):
                step = self.inner.update(*carry, minibatch, key)
            return (step.agent, step.state), step.metrics

        # Rows are gathered once in an epoch. A gather in each minibatch takes 1.2 times as
        # long in all (minibatches of 128 steps of CartPole).
        def epoch(carry: tuple[Tree, Tree], keys: Any) -> tuple[tuple[Tree, Tree], Metrics]:
            shuffle_key, learn_keys = keys
            minibatches = take(rows, self._indices(shuffle_key, size))
            return scan(learn, carry, (minibatches, learn_keys))

        (agent, state), metrics = scan(epoch, (agent, state), self._keys(key))
        metrics = jax.tree.map(lambda metric: jax.lax.collapse(metric, 0, 2), metrics)
        return Step(agent, state, data, mean_over_time(metrics))

    def _shapes(self, agent: Tree, data: Any) -> Any:
        """The shapes of one minibatch."""

        def first(data: Any, key: Key) -> Any:
            rows, size = self._rows(agent, data)
            return take(rows, self._indices(key, size)[0])

        return eqx.filter_eval_shape(first, data, jax.random.key(0))

    def _keys(self, key: Key) -> tuple[Any, Any]:
        """For each epoch, a key to shuffle by and one for each minibatch. Split separately: the
        latter are dead code where `inner` draws nothing.
        """
        shuffle_key, learn_key = jax.random.split(key)
        learn_keys = jax.random.split(learn_key, self.num_epochs * self.num_minibatches)
        shape = self.num_epochs, self.num_minibatches, *key.shape
        return jax.random.split(shuffle_key, self.num_epochs), learn_keys.reshape(shape)

    def _keeps_time(self, agent: Tree) -> bool:
        """Whether trajectories stay whole, as recurrent agents need."""
        return self.whole_trajectories or has_memory(agent)

    def _rows(self, agent: Tree, data: D) -> tuple[D, int]:
        """The rows that are shuffled, along the first axis: environments, or single steps, which
        are trajectories of length 1.
        """
        if self._keeps_time(agent):
            return data, common_axes("minibatch: data", data, 1)[0]
        num_environments, num_steps = common_axes("minibatch: data", data, 2)
        size = num_environments * num_steps
        return jax.tree.map(lambda x: x.reshape(size, 1, *x.shape[2:]), data), size

    def _indices(self, key: Key, size: int) -> Any:
        """The rows of each minibatch of one epoch: a random permutation, cut."""
        if size % self.num_minibatches:
            raise WiringError(
                format_error(
                    "minibatch: num_minibatches",
                    wanted=f"a divisor of the {size} rows of the batch",
                    got=f"{self.num_minibatches}",
                    fix="Change num_minibatches, or num_envs and num_steps of the rollout. "
                    "(A row is a step, or an environment if the agent has a memory "
                    "or with whole_trajectories.)",
                )
            )
        # jax.random.permutation sorts twice from 1626 rows on, against ties among its random
        # numbers. Two rows in a million that keep their order do no harm here.
        order = jnp.argsort(jax.random.bits(key, (size,)))
        return order.reshape(self.num_minibatches, -1)


def take(rows: D, index: Any) -> D:
    """Gather rows at `index`, which holds each at most once."""

    def gather(x: Any) -> Any:
        return x.at[index].get(mode="promise_in_bounds", unique_indices=True)

    return jax.tree.map(gather, rows)


@suggest_keywords
def minibatch(
    inner: Transform[D, Any],
    *,
    num_epochs: int,
    num_minibatches: int,
    whole_trajectories: bool = False,
) -> Minibatch[D]:
    """Run `inner` on shuffled minibatches of the data, for `num_epochs` epochs.

    The data's arrays begin with the axes `(environments, time)`. Steps are shuffled anew
    in each epoch and cut into `num_minibatches`; a minibatch has the axes `(rows, 1)`. For
    an agent with memory, environments are shuffled instead, and time stays whole.
    The data itself is given on unchanged; metrics are means over all minibatches.

    **Arguments:**

    - `whole_trajectories`: shuffle environments and leave time whole for any agent, so that
      advantages can be estimated within.

    **Raises:** `HyperparameterError` if a count is not an int of at least 1; `WiringError`,
    when traced, if `num_minibatches` does not divide the number of rows, or if a stage within
    wants whole trajectories where they are cut.
    """
    return Minibatch(
        as_chain(inner, "minibatch: inner"),
        check_count("minibatch: num_epochs", num_epochs),
        check_count("minibatch: num_minibatches", num_minibatches),
        check_flag("minibatch: whole_trajectories", whole_trajectories),
    )


@final
class AccumulateState(eqx.Module):
    """The data so far, the number of updates modulo `n`, and the inner transform's state."""

    data: Tree
    updates: Count
    inner: Tree


@final
class Accumulate(Wrapper[D, D]):
    """See [`accumulate`][lerax_fx.accumulate]."""

    n: int = eqx.field(static=True)

    @property
    def types(self) -> tuple[Any, Any]:
        wanted = self.inner.types[0]
        return wanted, wanted

    def init(self, agent: Tree, data: Shapes, key: Key) -> AccumulateState:
        check_in_order("accumulate")
        steps, starts = split_time_axis(data())
        common_axes("accumulate: data", steps, 2)
        _check_no_samples(starts)

        def empty() -> Tree:
            room = jax.tree.map(
                lambda x: jnp.zeros((x.shape[0], self.n * x.shape[1], *x.shape[2:]), x.dtype), steps
            )
            return eqx.combine(room, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), starts))

        inner = self.inner.init(agent, lambda: jax.eval_shape(empty), key)
        return AccumulateState(empty(), jnp.zeros((), jnp.int32), inner)

    def update(self, agent: Tree, state: AccumulateState, data: D, key: Key) -> Step[D]:
        check_in_order("accumulate")
        stored = self._with(state, data)

        def run(carry: Carry) -> tuple[Carry, Metrics]:
            step = self.inner.update(*carry, stored, key)
            return (step.agent, step.state), step.metrics

        due = state.updates == self.n - 1
        (agent, inner), metrics = conditional_update(due, run, (agent, state.inner))
        updates = (state.updates + 1) % self.n
        return Step(agent, AccumulateState(stored, updates, inner), data, metrics)

    def _with(self, state: AccumulateState, data: D) -> D:
        """The data so far and this update's, behind it in time."""
        (old, old_starts), (new, new_starts) = split_time_axis(state.data), split_time_axis(data)
        num_steps = common_axes("accumulate: data", new, 2)[1]

        def write(old: Any, new: Any) -> Any:
            place = state.updates * num_steps
            return jax.lax.dynamic_update_slice_in_dim(old, new, place, axis=1)

        def first(old: Any, new: Any) -> Any:
            return jnp.where(state.updates == 0, new, old)

        starts = jax.tree.map(first, old_starts, new_starts)
        return eqx.combine(jax.tree.map(write, old, new), starts)


def _check_no_samples(starts: Any) -> None:
    for name in ("weight", "priority"):
        if getattr(starts, name, None) is not None:
            raise WiringError(
                format_error(
                    "accumulate: data",
                    wanted="trajectories that go on from one update to the next",
                    got=f"a {type(starts).__name__} with a {name}, as samples of a replay have it",
                    fix="Put accumulate around what learns from the rollout itself.",
                )
            )


def accumulate(n: int, inner: Transform[D, Any]) -> Accumulate[D]:
    """Run `inner` in every `n`-th update, on the data of these `n` updates; give the data on
    unchanged.

    The data of an update follows that of the one before in time: arrays of `(environments, time)`
    become `(environments, n * time)`. A field called `memory`, which has no time axis, is that of
    the first update. For phases that learn from more data than one
    rollout holds, such as the auxiliary phase of Cobbe et al. 2021, "Phasic Policy Gradient",
    algorithm 1. Metrics of the other updates are NaN, and are left out of means.

    **Raises:** `HyperparameterError` if `n` is not an int of at least 1; `WiringError`, when
    traced, for data without these two axes, or with importance weights or priorities.
    """
    return Accumulate(as_chain(inner, "accumulate: inner"), check_count("accumulate: n", n))


@final
class DatasetState(eqx.Module):
    """The rows in the order of this epoch, the place in it, and how many rows were given."""

    order: Int[Array, " rows"]
    position: Count
    rows: Count


@final
class Dataset(Transform[None, D]):
    """See [`dataset`][lerax_fx.dataset]."""

    data: D
    batch_size: int = eqx.field(static=True)

    @property
    def types(self) -> tuple[Any, Any]:
        return NoneType, type(self.data)

    @property
    def num_rows(self) -> int:
        """How many rows the data has."""
        return jax.tree.leaves(self.data)[0].shape[0]

    def init(self, agent: Tree, data: Shapes, key: Key) -> DatasetState:
        del agent, data
        zero = jnp.zeros((), jnp.int32)
        return DatasetState(self._order(key), zero, jnp.zeros((), jnp.int32))

    def update(self, agent: Tree, state: DatasetState, data: None, key: Key) -> Step[D]:
        del data
        over = state.position + self.batch_size > self.num_rows
        # Not the bound method, which JAX would hash, with the data in it.
        order = jax.lax.cond(over, lambda key: self._order(key), lambda key: state.order, key)
        position = jnp.where(over, 0, state.position)
        index = jax.lax.dynamic_slice_in_dim(order, position, self.batch_size)
        rows = safe_increment(state.rows, self.batch_size)
        state = DatasetState(order, position + self.batch_size, rows)
        return Step(agent, state, take(self.data, index), {"steps": rows})

    def _order(self, key: Key) -> Int[Array, " rows"]:
        return jax.random.permutation(key, self.num_rows)


def dataset(data: D, *, batch_size: int) -> Dataset[D]:
    """Start an algorithm with batches of fixed data, for offline learning.

        chain(dataset(transitions, batch_size=256), td_target(...), minimize(...))

    Batches are drawn without replacement within an epoch, and rows are shuffled anew in each;
    rows that do not fill a batch are left out of that epoch.

    **Arguments:**

    - `data`: a PyTree whose arrays share their first axis, the rows: for stages that want
      `(environments, time)` or `(batch, time)`, trajectories of `(rows, time)`, or steps as
      trajectories of length 1. They are arguments of the compiled program.
    - `batch_size`: how many rows a batch has.

    Metrics: `steps`, how many rows were given so far.

    **Raises:** `HyperparameterError` if `batch_size` is not an int from 1 to the number of rows;
    `WiringError` for data that is no PyTree of arrays that share their first axis, or of a type
    with a time axis (`Rollout`, `Transitions`, ...) without one: give steps one of length 1, by
    `jax.tree.map(lambda x: x[:, None], data)`.
    """
    data = _arrays(data)
    (rows,) = common_axes("dataset: data", data, 1)
    if isinstance(data, Checked):
        # Of one axis, it would be a single trajectory, and a batch of it steps out of order.
        common_axes("dataset: data", split_time_axis(data)[0], 2)
    batch_size = check_count("dataset: batch_size", batch_size)
    if batch_size > rows:
        raise HyperparameterError(
            format_error(
                "dataset: batch_size",
                wanted=f"at most the {rows} rows of the data",
                got=f"{batch_size}",
                fix="Lower batch_size.",
            )
        )
    return Dataset(data, batch_size)


def _arrays(data: D) -> D:
    try:
        return jax.tree.map(jnp.asarray, data)
    except (TypeError, ValueError) as error:
        raise WiringError(
            format_error(
                "dataset: data",
                wanted="a PyTree of arrays of numbers",
                got=str(error),
                fix="Load the data into arrays of NumPy or JAX first.",
            )
        ) from error
