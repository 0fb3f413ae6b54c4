"""A table of an algorithm: its stages, their data, states and hyperparameters."""

import math
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lerax_fx._core.arrays import written
from lerax_fx._core.chain import as_chain
from lerax_fx._core.hyperparameters import is_array
from lerax_fx._core.lift import FunctionTransform
from lerax_fx._core.runner import Record, recording
from lerax_fx._core.transform import Transform
from lerax_fx._core.wiring import check_starts
from lerax_fx.typing import Tree

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
    """Print a table of an algorithm's stages.

    One row a stage, those within other stages indented under them: what it takes and gives,
    with types and leading shapes; the size of its state; and its hyperparameters. Nothing is
    computed: the algorithm is traced, so a wrong wiring is found here as it would be by the
    loop.

    **Raises:** `WiringError` at the first stage that does not fit.
    """
    print(table(rows_of(algorithm, agent)))


def rows_of(algorithm: Transform[Any, Any], agent: Any) -> list[Row]:
    """The rows of [`describe`][lerax_fx.describe], as data."""
    algorithm = as_chain(algorithm, "describe: algorithm")
    check_starts("describe", algorithm)
    arrays, rest = eqx.partition(agent, is_array)

    def run(arrays: Tree, key: Any) -> None:
        agent = eqx.combine(arrays, rest)
        state = algorithm.init(agent, lambda: None, key)
        with recording() as records:
            algorithm.update(agent, state, None, key)
        found.update(records)

    found: dict[tuple[str, ...], Record] = {}
    jax.eval_shape(run, arrays, jax.random.key(0))
    return [_row(path, record) for path, record in found.items()]


def _row(path: tuple[str, ...], record: Record) -> Row:
    return Row(
        "  " * (len(path) - 1) + path[-1],
        _typed(record.data),
        _typed(record.out),
        sum(_bytes(leaf) for leaf in jax.tree.leaves(record.state)),
        _settings(record.stage),
    )


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


def _bytes(leaf: Any) -> int:
    # A typed key's own dtype has no size; that of the words which it is made of has.
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize


def _settings(stage: Transform[Any, Any]) -> str:
    """Hyperparameters of a stage itself (not of what is within it), and its sizes."""
    if isinstance(stage, FunctionTransform):
        return ", ".join(f"{k}={written(v)}" for k, v in stage.hyperparameters.items())
    fields = {field: getattr(stage, field) for field in stage.__dataclass_fields__}
    shown = {
        field: written(value)
        for field, value in fields.items()
        if value is not None and not isinstance(value, Transform) and _is_setting(value)
    }
    return ", ".join(f"{name}={value}" for name, value in shown.items())


def _is_setting(value: Any) -> bool:
    return isinstance(value, int | float | str | eqx.Module) or eqx.is_array(value)
