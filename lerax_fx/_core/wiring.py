"""Checks that stages fit together, and the texts of their errors."""

import inspect
from types import NoneType
from typing import Any, get_origin, get_type_hints

import equinox as eqx

from lerax_fx._core.transform import Step, Transform
from lerax_fx.errors import WiringError, format_error

# What to put before a stage that misses its data, by the type that it wants. Filled by the
# modules that define the types, so that this one knows none of them.
_SOURCES: dict[str, str] = {}


def register_producer(type_name: str, stage: str) -> None:
    """Register which stage produces a type of data, for error messages."""
    _SOURCES[type_name] = stage


def type_name(kind: Any) -> str:
    """The name of a type, for a message."""
    if kind is NoneType:
        return "no data"
    if kind is Any:
        return "any data"
    return getattr(kind, "__name__", str(kind))


def check_is_transform(where: str, value: Any) -> None:
    """**Raises:** `WiringError` if `value` is not a transform."""
    if isinstance(value, Transform):
        return
    fix = "Subclass fx.Transform, or decorate a function with @fx.transform."
    if hasattr(value, "function") or _makes_transform(value):
        fix = f"Call it to make a stage: {value.__name__}(...)."
    elif callable(value):
        fix = f"Decorate {getattr(value, '__name__', 'it')} with @fx.transform, and call it."
    raise WiringError(
        format_error(where, wanted="a Transform", got=f"{describe_value(value)}", fix=fix)
    )


def _makes_transform(value: Any) -> bool:
    """Whether a function says that it returns one, as `fx.td_target` does."""
    if not inspect.isfunction(value):
        return False
    made = get_type_hints(value).get("return")
    made = get_origin(made) or made
    return isinstance(made, type) and issubclass(made, Transform)


def check_neighbours(stages: tuple[Transform[Any, Any], ...], names: tuple[str, ...]) -> None:
    """Check the declared types of neighbouring stages, before a chain runs.

    **Raises:** `WiringError` at the first stage that cannot take what comes before it.
    """
    given, giver = Any, None
    for position, (stage, name) in enumerate(zip(stages, names, strict=True)):
        wanted = stage.types[0]
        if giver is not None and not _fits(given, wanted):
            where = f"stage {position + 1} of {len(stages)}, {name!r}"
            raise WiringError(_mismatch(where, name, wanted, given, giver))
        # A stage that gives on whatever it gets declares nothing: wait for the trace.
        known = stage.types[1] is not Any
        given, giver = (stage.types[1], name) if known else (Any, None)


def check_starts(where: str, algorithm: Transform[Any, Any]) -> None:
    """**Raises:** `WiringError` if an algorithm's first stage wants data."""
    wanted = algorithm.types[0]
    if wanted in (Any, NoneType):
        return
    first = getattr(algorithm, "names", (algorithm.name,))[0]
    source = _SOURCES.get(type_name(wanted))
    raise WiringError(
        format_error(
            f"{where}: stage 1, {first!r}",
            wanted=type_name(wanted),
            got="nothing: it is the first stage",
            fix=f"Put {source or 'a stage that gives it'} before it.",
        )
    )


def check_input(where: str, name: str, wanted: Any, data: Any, giver: str | None) -> None:
    """**Raises:** `WiringError` if `data` is not of the type that a stage wants."""
    if wanted is Any or isinstance(data, wanted):
        return
    raise WiringError(_mismatch(where, name, wanted, type(data), giver))


def check_step(where: str, step: Any, declared: Any) -> None:
    """**Raises:** `WiringError` if what a stage returned is not the step that it declares."""
    if not isinstance(step, Step):
        raise WiringError(
            format_error(
                where,
                wanted="update to return Step(agent, state, out, metrics)",
                got=describe_value(step),
                fix="Return fx.Step(...) from update.",
            )
        )
    if declared is not Any and not isinstance(step.out, declared):
        raise WiringError(
            format_error(
                where,
                wanted=f"the {type_name(declared)} that it declares to return",
                got=describe_value(step.out),
                fix="Return that type, or correct the annotation.",
            )
        )


def check_inner(where: str, inner: Transform[Any, Any], given: Any) -> None:
    """**Raises:** `WiringError` if the stage within another one does not take what it gets."""
    wanted = inner.types[0]
    if _fits(given, wanted):
        return
    source = _SOURCES.get(type_name(wanted))
    raise WiringError(
        format_error(
            f"{where}: inner, {inner.name!r}",
            wanted=type_name(wanted),
            got=type_name(given),
            fix=f"Put {source} before it, in a chain, if that takes {type_name(given)}."
            if source
            else f"Within {where}, use stages that take {type_name(given)}.",
        )
    )


def _mismatch(where: str, name: str, wanted: Any, given: Any, giver: str | None) -> str:
    source = _SOURCES.get(type_name(wanted))
    if wanted is NoneType:
        fix = f"{name!r} starts an algorithm: put it first in the chain."
    elif source:
        fix = f"Put {source} before it."
    else:
        fix = f"Put a stage before it that gives {type_name(wanted)}."
    came = type_name(given)
    if giver is not None:
        came += f" (from {giver!r})"
    return format_error(where, wanted=type_name(wanted), got=came, fix=fix)


def _fits(given: Any, wanted: Any) -> bool:
    if given is Any or wanted is Any:
        return True
    try:
        return issubclass(given, wanted)
    except TypeError:
        return True


def describe_value(value: Any) -> str:
    """The type of a value, and the name of a function, for a message."""
    if value is None:
        return "None"
    kind = type(value)
    if isinstance(value, eqx.Module) or not callable(value):
        return f"a {kind.__name__}"
    return f"the {kind.__name__} {getattr(value, '__name__', value)!r}"
