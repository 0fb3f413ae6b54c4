"""The names of stages, and of the metrics that are filed under them."""

from typing import Any

from lerax_fx.core.transform import Transform
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Metrics

RUN_METRICS = frozenset({"steps", "episode_return", "episode_length"})
"""What every run has: these stand under plain names, whichever stage measures them."""


def unique_names(
    stages: tuple[Transform[Any, Any], ...], labels: tuple[str | None, ...]
) -> tuple[str, ...]:
    """A name for each stage: the label if one was given, else the stage's own.

    A name that is taken gets a number: `gae`, `gae_2`, `gae_3`.
    """
    names: list[str] = []
    for stage, label in zip(stages, labels, strict=True):
        base = label or stage.name
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}_{number}"
        names.append(name)
    return tuple(names)


def filed(metrics: Metrics, name: str, own_name: str) -> Metrics:
    """The metrics of one stage under the name that it has in a chain.

    A key without a slash becomes `name/key`. One that the stage filed itself keeps its
    place, with the stage's own name replaced where the chain gave it another; what comes
    out of a renamed higher-order stage is filed one level deeper.
    """
    return {_filed_key(key, name, own_name): value for key, value in metrics.items()}


def _filed_key(key: str, name: str, own_name: str) -> str:
    if key in RUN_METRICS:
        return key
    if "/" not in key:
        return f"{name}/{key}"
    if name == own_name:
        return key
    head, _, rest = key.partition("/")
    return f"{name}/{rest}" if head == own_name else f"{name}/{key}"


def merged(first: Metrics, second: Metrics, name: str) -> Metrics:
    """Both dicts in one.

    **Raises:** `WiringError` if they share a key: one would hide the other.
    """
    shared = sorted(set(first) & set(second))
    if shared:
        raise WiringError(
            explain(
                f"stage {name!r}: metrics",
                wanted="names that no stage before it uses",
                got=f"{shared[0]!r} again",
                fix=f"Give the stage a name of its own: chain(..., my_{name}=...).",
            )
        )
    return {**first, **second}
