"""A table of an algorithm: its stages, what goes through them, what they keep."""

import math
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lerax_fx.core.chain import Chain
from lerax_fx.core.hyperparameters import is_hyperparameter, named_hyperparameters
from lerax_fx.core.lift import FunctionTransform
from lerax_fx.core.transform import Inside, Transform
from lerax_fx.core.wiring import check_input, check_is_transform, check_starts, check_step
from lerax_fx.environments.env import Env
from lerax_fx.exploration.exploration import AbstractExploration
from lerax_fx.losses.loss import FunctionLoss, Loss
from lerax_fx.replay.sampling import AbstractSampling
from lerax_fx.targets.network import AbstractTargetUpdate
from lerax_fx.types import Tree

_HEADINGS = ("stage", "takes", "gives", "state", "hyperparameters")
_WIDTH = 34


@final
class Row(eqx.Module):
    """One stage in a description; `state` is in bytes."""

    stage: str
    takes: str
    gives: str
    state: int
    hyperparameters: str


def describe(algorithm: Transform[Any, Any], agent: Any) -> None:
    """Print a table of an algorithm as it works on an agent.

    One row a stage, those within higher-order stages indented under them: what it takes
    and gives, with types and leading shapes; the size of its state; and its
    hyperparameters. Nothing is computed: the algorithm is evaluated abstractly, so a wrong
    wiring is found here as it would be by the loop.

    **Raises:** `WiringError` at the first stage that does not fit.
    """
    print(table(rows_of(algorithm, agent)))


def rows_of(algorithm: Transform[Any, Any], agent: Any) -> list[Row]:
    """The rows of [`describe`][lerax_fx.describe], for programs."""
    check_is_transform("describe: algorithm", algorithm)
    check_starts("describe", algorithm)
    key = jax.eval_shape(lambda: jax.random.key(0))
    agent = _abstract(agent)
    state = eqx.filter_eval_shape(algorithm.init, agent, key)
    return _rows(Inside(algorithm, state, None), algorithm.name, agent, key, 0)


def _rows(inside: Inside, name: str, agent: Tree, key: Any, depth: int) -> list[Row]:
    stage, state, data = inside.transform, inside.state, inside.data
    if isinstance(stage, Chain):
        return _chain_rows(stage, state, data, agent, key, depth)
    step = eqx.filter_eval_shape(stage.update, agent, state, data, key)
    row = Row(
        "  " * depth + name,
        _typed(data),
        _typed(step.out),
        _size(state),
        _settings(stage),
    )
    within = _inside(stage, agent, state, data, key)
    if within is None:
        return [row]
    return [row, *_rows(within, within.transform.name, agent, key, depth + 1)]


def _inside(stage: Transform[Any, Any], agent: Tree, state: Tree, data: Any, key: Any) -> Any:
    """What is within a stage; its state and data in shapes alone, its hyperparameters whole."""
    found: list[Transform[Any, Any]] = []

    def look(agent: Tree, state: Tree, data: Any, key: Any) -> Any:
        within = stage.inside(agent, state, data, key)
        if within is None:
            return None
        found.append(within.transform)
        return within.state, within.data

    seen = eqx.filter_eval_shape(look, agent, state, data, key)
    return None if seen is None else Inside(found[0], *seen)


def _chain_rows(
    chain: Chain[Any, Any], state: Tree, data: Any, agent: Tree, key: Any, depth: int
) -> list[Row]:
    rows: list[Row] = []
    giver: str | None = None
    for position, (stage, name) in enumerate(zip(chain.stages, chain.names, strict=True)):
        check_input(position, len(chain), name, stage.input_type, data, giver)
        rows += _rows(Inside(stage, state[position], data), name, agent, key, depth)
        step = eqx.filter_eval_shape(stage.update, agent, state[position], data, key)
        check_step(f"stage {position + 1}, {name!r}", step, stage.output_type)
        data, giver = step.out, name
    return rows


def table(rows: list[Row]) -> str:
    """The rows as text, columns aligned; a cell that is long goes on in the next line."""
    cells = [_HEADINGS] + [
        (row.stage, row.takes, row.gives, f"{row.state:,} B", row.hyperparameters) for row in rows
    ]
    wrapped = [[_wrap(cell) for cell in row] for row in cells]
    widths = [max(len(line) for row in wrapped for line in row[i]) for i in range(len(_HEADINGS))]
    lines: list[str] = []
    for number, row in enumerate(wrapped):
        for i in range(max(len(cell) for cell in row)):
            parts = [cell[i] if i < len(cell) else "" for cell in row]
            padded = [part.ljust(width) for part, width in zip(parts, widths, strict=True)]
            lines.append("  ".join(padded).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _wrap(cell: str) -> list[str]:
    """Break a cell at its commas; indentation stays."""
    lines: list[str] = [""]
    for part in cell.split(", "):
        if lines[-1].strip() and len(lines[-1]) + len(part) > _WIDTH:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] += (", " if lines[-1].strip() else "") + part
    return lines


def _typed(data: Any) -> str:
    """A type, and the axes that all its arrays begin with."""
    if data is None:
        return "nothing"
    shapes = [leaf.shape for leaf in jax.tree.leaves(data)]
    shared: list[int] = []
    for sizes in zip(*shapes, strict=False):
        if len(set(sizes)) > 1:
            break
        shared.append(sizes[0])
    return f"{type(data).__name__}[{' '.join(map(str, shared))}]"


def _size(state: Tree) -> int:
    return sum(_bytes(leaf) for leaf in jax.tree.leaves(state))


def _bytes(leaf: Any) -> int:
    # A typed key's own dtype has no size; that of the words which it is made of has.
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize


def _settings(stage: Transform[Any, Any]) -> str:
    """Hyperparameters of a stage itself (not of what is within it), and its sizes."""
    if isinstance(stage, FunctionTransform):
        return ", ".join(f"{k}={_short(v)}" for k, v in stage.hyperparameters.items())
    shown: dict[str, Any] = {}
    for field in stage.__dataclass_fields__:
        value = getattr(stage, field)
        if isinstance(value, Transform):
            continue
        shown |= _shown(field, value)
    return ", ".join(f"{name}={_short(value)}" for name, value in shown.items())


def _shown(field: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Loss | FunctionLoss):
        return {field: value.formula}
    if isinstance(value, Env):
        return {field: value.name}
    if isinstance(value, AbstractExploration | AbstractTargetUpdate | AbstractSampling):
        return {field: _written(value)}
    if isinstance(value, int | float | str) or eqx.is_array(value):
        return {field: value}
    if isinstance(value, optax.GradientTransformation):
        # What `init` closes over, `update` does as well.
        numbers = named_hyperparameters(value.update)
        return {name.split("/")[-1]: number for name, number in numbers.items()}
    return {}


def _written(module: eqx.Module) -> str:
    """A small module as one would make it: its name, and the numbers in it."""
    numbers: dict[str, Any] = {}
    for field in module.__dataclass_fields__:
        part = getattr(module, field)
        if callable(part):  # a schedule: what it closes over
            found = named_hyperparameters(part)
            numbers |= {name.split("/")[-1]: number for name, number in found.items()}
        else:
            numbers[field] = part
    # No comma, at which a long cell is broken.
    written = " ".join(f"{name}={_short(number)}" for name, number in numbers.items())
    return f"{type(module).__name__}({written})"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if eqx.is_array(value):
        return f"{value}" if value.shape == () else f"{value.dtype}{list(value.shape)}"
    return str(value)


def _abstract(agent: Any) -> Any:
    arrays, rest = eqx.partition(agent, is_hyperparameter)
    return eqx.combine(eqx.filter_eval_shape(lambda tree: tree, arrays), rest)
