"""Several epochs over a batch, in shuffled minibatches."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lerax_fx._core.arguments import check_count, check_flag, suggest_keywords
from lerax_fx._core.arrays import common_axes
from lerax_fx._core.chain import as_chain
from lerax_fx._core.metrics import mean_over_time
from lerax_fx._core.scan import scan
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx._core.wiring import reordering
from lerax_fx._core.wrapper import Wrapper
from lerax_fx.agents.unroll import has_memory
from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Key, Metrics, Tree

# Set while a stage that cuts trajectories traces the stage within it: data alone does not tell
# whether its trajectories were longer before.
_CUT_BY: ContextVar[str | None] = ContextVar("cut_by", default=None)


@contextmanager
def cutting_trajectories(stage: str, cuts: bool = True) -> Generator[None]:
    """While stages within `stage` are run, which cuts trajectories into steps if `cuts`."""
    if not cuts:
        yield
        return
    token = _CUT_BY.set(stage)
    try:
        yield
    finally:
        _CUT_BY.reset(token)


def check_whole_trajectories(where: str, fix: str | None = None) -> None:
    """For stages that look from one step of a trajectory to the next.

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
        """Those of one minibatch."""

        def first(data: Any, key: Key) -> Any:
            rows, size = self._rows(agent, data)
            return take(rows, self._indices(key, size)[0])

        return eqx.filter_eval_shape(first, data, jax.random.key(0))

    def _keys(self, key: Key) -> tuple[Any, Any]:
        """For each epoch, one to shuffle by and one for each minibatch. Apart from each
        other: the latter are dead code where `inner` draws nothing.
        """
        shuffle_key, learn_key = jax.random.split(key)
        learn_keys = jax.random.split(learn_key, self.num_epochs * self.num_minibatches)
        shape = self.num_epochs, self.num_minibatches, *key.shape
        return jax.random.split(shuffle_key, self.num_epochs), learn_keys.reshape(shape)

    def _keeps_time(self, agent: Tree) -> bool:
        """Whether trajectories stay whole: an agent's memory has to run through them."""
        return self.whole_trajectories or has_memory(agent)

    def _rows(self, agent: Tree, data: D) -> tuple[D, int]:
        """What is shuffled, along the first axis: environments, or single steps, which are
        trajectories of length 1.
        """
        if self._keeps_time(agent):
            return data, common_axes("minibatch: data", data, 1)[0]
        num_environments, num_steps = common_axes("minibatch: data", data, 2)
        size = num_environments * num_steps
        return jax.tree.map(lambda x: x.reshape(size, 1, *x.shape[2:]), data), size

    def _indices(self, key: Key, size: int) -> Any:
        """Which rows each minibatch of one epoch holds: a permutation, cut."""
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
    """The rows at `index`, which holds each row at most once."""

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
    """Run `inner` on every minibatch of the data, `num_epochs` times over.

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


__all__ = ["Minibatch", "minibatch", "take"]
