"""The runner of a stage: checks its contract, prefixes its metrics, evaluates its schedules, and
records it for `describe`.
"""

import contextlib
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lerax_fx._core.arguments import check_hyperparameters
from lerax_fx._core.arrays import Checked, first_difference
from lerax_fx._core.schedules import Schedule, has_schedules, with_values
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx._core.wiring import check_input, check_step, describe_value
from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Count, Key, Metrics, Tree

RUN_METRICS = frozenset({"steps", "episode_return", "episode_length"})
"""What every run has: these stand under plain names, and only a stage that starts an algorithm
reports them.
"""

AnyTransform = Transform[Any, Any]

_path: ContextVar[tuple[str, ...]] = ContextVar("path", default=())
_recorded: ContextVar["dict[tuple[str, ...], Record] | None"] = ContextVar("recorded", default=None)


@final
class ScheduledState(eqx.Module):
    """The state of a stage that has schedules, and how many updates it has made."""

    updates: Count
    inner: Tree


@final
class Place(eqx.Module):
    """The place of a stage in its chain.

    - `position`, `count`: the first of `count` stages has position 0.
    - `name`: the stage's in the chain.
    - `giver`: the name of the stage before it, if there is one.
    """

    position: int = eqx.field(static=True)
    count: int = eqx.field(static=True)
    name: str = eqx.field(static=True)
    giver: str | None = eqx.field(static=True)

    def __str__(self) -> str:
        return f"stage {self.position + 1} of {self.count}, {self.name!r}"


@final
class Record(eqx.Module):
    """What `describe` shows of a stage; data and state as shapes."""

    stage: AnyTransform
    data: Any
    out: Any
    state: Tree


def init_stage(stage: AnyTransform, place: Place, agent: Tree, data: Shapes, key: Key) -> Tree:
    """Initialise the state of one stage of a chain, with Python numbers as arrays."""
    with _within(place):
        state = jax.tree.map(_as_array, stage.init(agent, data, key))
        if has_schedules(stage):
            return ScheduledState(jnp.zeros((), jnp.int32), state)
        return state


def draw_stage(stage: AnyTransform, place: Place, key: Key) -> Tree:
    """The random draws of one stage of a chain that depend only on the key."""
    with _within(place):
        return stage.draw_ahead(key)


def run_stage(
    stage: AnyTransform, place: Place, agent: Tree, state: Tree, data: Any, key: Tree
) -> Step[Any]:
    """One update of one stage of a chain.

    **Raises:** `WiringError` if the data is not of the type that the stage takes, if it returns
    no `Step` or other data than it declares, if the agent or the state come out with another
    structure, shape or dtype, or if its metrics are no dict of scalars.
    """
    check_input(str(place), place.name, stage.types[0], data, place.giver)
    with _within(place):
        step = _update(stage, agent, state, data, key)
        check_step(str(place), step, stage.types[1])
        _check_same(place, "agent", agent, step.agent)
        _check_same(place, "state", state, step.state)
        if isinstance(step.out, Checked):
            step.out.checked()
        metrics = _prefixed(stage, place, step.metrics)
    return Step(step.agent, step.state, step.out, metrics)


@contextlib.contextmanager
def recording() -> Generator[dict[tuple[str, ...], Record]]:
    """Record the stages that are run within, by their paths, in the order of their first run."""
    records: dict[tuple[str, ...], Record] = {}
    token = _recorded.set(records)
    try:
        yield records
    finally:
        _recorded.reset(token)


def _update(stage: AnyTransform, agent: Tree, state: Tree, data: Any, key: Tree) -> Any:
    records, path = _recorded.get(), _path.get()
    # Kept in its place before what is within it is run.
    new = records is not None and path not in records
    if records is not None and new:
        records[path] = Record(stage, None, None, None)
    step = _scheduled_update(stage, agent, state, data, key)
    if records is not None and new and isinstance(step, Step):
        records[path] = Record(stage, *map(_shapes, (data, step.out, state)))
    return step


def _scheduled_update(stage: AnyTransform, agent: Tree, state: Tree, data: Any, key: Tree) -> Any:
    if not has_schedules(stage):
        _check_numbers(stage)
        return stage.update(agent, state, data, key)
    evaluated = with_values(stage, state.updates)
    _check_numbers(evaluated)
    step: Any = evaluated.update(agent, state.inner, data, key)
    if not isinstance(step, Step):
        return step
    updates = safe_increment(state.updates, 1)
    return Step(step.agent, ScheduledState(updates, step.state), step.out, step.metrics)


def _check_numbers(stage: AnyTransform) -> None:
    check_hyperparameters(stage.name, stage, lambda part: isinstance(part, Transform | Schedule))


def safe_increment(count: Count, more: int) -> Count:
    """Increment a counter without overflow, as `optax.safe_increment` does: at most the largest
    number of its dtype. A counter that wrapped around would restart every schedule.
    """
    largest = jnp.iinfo(count.dtype).max
    return jnp.minimum(count, largest - more) + more


@contextlib.contextmanager
def _within(place: Place) -> Generator[None]:
    """Add the stage to the path, and a note of it to an error that is raised within; the error
    itself stays what it is.
    """
    token = _path.set((*_path.get(), place.name))
    try:
        yield
    except Exception as error:
        note = f"(raised in {place})"
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        raise
    finally:
        _path.reset(token)


def _check_same(place: Place, what: str, before: Tree, after: Tree) -> None:
    difference = first_difference(before, after)
    if difference is None:
        return
    path, old, new = difference
    raise WiringError(
        format_error(
            f"{place}: update: {what}{path}",
            wanted=f"the structure, shape and dtype that came, {old}",
            got=new,
            fix=f"Return the {what} like the one that came in, for instance with "
            "new.astype(old.dtype); what is to change has to be an array.",
        )
    )


def _prefixed(stage: AnyTransform, place: Place, metrics: Any) -> Metrics:
    """The metrics of a stage under its name in the chain.

    **Raises:** `WiringError` for metrics that are no dict of scalars under plain names.
    """
    if not isinstance(metrics, dict):
        raise _bad_metrics(f"{place}: metrics", describe_value(metrics))
    composed = hasattr(stage, "inner") or hasattr(stage, "stages")
    starts = stage.types[0] is type(None)
    checked: Metrics = {}
    for name, value in metrics.items():
        where = f"{place}: metrics: {name!r}"
        if not isinstance(name, str) or ("/" in name and not composed):
            raise _bad_metrics(where, f"the name {name!r}")
        if name in RUN_METRICS and not (starts or composed):
            raise _bad_metrics(where, f"a name that is reserved: {', '.join(sorted(RUN_METRICS))}")
        checked[prefix(name, place.name, stage.name)] = _scalar(where, value)
    return checked


def prefix(key: str, name: str, own_name: str) -> str:
    """A metric's name with that of its stage: `key` becomes `name/key`.

    One that a stage within reported keeps its prefix; it gets that of the stage around it only
    if the chain gave this one another name than its own.
    """
    if key in RUN_METRICS or ("/" in key and name == own_name):
        return key
    return f"{name}/{key}"


def _scalar(where: str, value: Any) -> Any:
    try:
        array = None if isinstance(value, str | list | tuple | dict) else jnp.asarray(value)
    except (TypeError, ValueError):
        array = None
    if array is None or array.shape != ():
        raise _bad_metrics(where, describe_value(value) if array is None else f"{array.shape}")
    return array


def _bad_metrics(where: str, got: str) -> WiringError:
    return WiringError(
        format_error(
            where,
            wanted="a flat dict of scalars, whose names are strings without a slash",
            got=got,
            fix='Return for instance {"loss": jnp.mean(losses)}.',
        )
    )


def _as_array(leaf: Any) -> Any:
    return (
        jnp.asarray(leaf) if isinstance(leaf, bool | int | float | complex | np.generic) else leaf
    )


def _shapes(tree: Tree) -> Tree:
    def shape(leaf: Any) -> Any:
        is_array = eqx.is_array(leaf)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if is_array else leaf

    return jax.tree.map(shape, tree)
