"""Chains: transforms one after another, themselves a transform."""

import functools
import zlib
from collections.abc import Iterator
from typing import Any, TypeVar, final, overload

import equinox as eqx
import jax

from lerax_fx._core.runner import Place, draw_stage, init_stage, run_stage
from lerax_fx._core.transform import In_contra, Out_co, Shapes, Step, Transform
from lerax_fx._core.wiring import check_is_transform, check_neighbours
from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Key, Metrics, Tree

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")
H = TypeVar("H")
I = TypeVar("I")
J = TypeVar("J")
K = TypeVar("K")
AnyTransform = Transform[Any, Any]


@final
class ChainState:
    """The states of a chain's stages, by name: `state["rollout"]`. A path reaches into those
    within: `state["learn/minimize"]`.
    """

    def __init__(self, states: dict[str, Tree]):
        self._states = states

    def __getitem__(self, path: str) -> Tree:
        """The state of a stage. **Raises:** `WiringError` if there is none of that name."""
        head, _, rest = path.partition("/")
        if head not in self._states:
            raise WiringError(
                format_error(
                    "state",
                    wanted=f"one of {', '.join(map(repr, self._states))}",
                    got=repr(head),
                    fix="Index it by the name of a stage.",
                )
            )
        found = self._states[head]
        return _within(found)[rest] if rest else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def __repr__(self) -> str:
        return f"ChainState({self._states!r})"

    def replace(self, name: str, state: Tree) -> "ChainState":
        """With the state of one stage replaced."""
        self[name]
        return ChainState({**self._states, name: state})


def _within(state: Tree) -> Tree:
    """The chain's state within that of a wrapper."""
    while not isinstance(state, ChainState) and hasattr(state, "inner"):
        state = state.inner
    return state


def _flatten(state: ChainState) -> tuple[tuple[Tree, ...], tuple[str, ...]]:
    names = tuple(state)
    return tuple(state[name] for name in names), names


def _flatten_with_keys(state: ChainState) -> tuple[Any, tuple[str, ...]]:
    names = tuple(state)
    return tuple((jax.tree_util.DictKey(name), state[name]) for name in names), names


def _unflatten(names: tuple[str, ...], states: Any) -> ChainState:
    return ChainState(dict(zip(names, states, strict=True)))


jax.tree_util.register_pytree_with_keys(ChainState, _flatten_with_keys, _unflatten, _flatten)


@final
class ChainDraws(eqx.Module):
    """The random draws of a chain's stages that depend only on the key, in order."""

    stages: tuple[Tree, ...]


@final
class Chain(Transform[In_contra, Out_co]):
    """See [`chain`][lerax_fx.chain]. `labels` are the names that were given, else `None`."""

    stages: tuple[AnyTransform, ...]
    labels: tuple[str | None, ...] = eqx.field(static=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The stages' names, in order, each once."""
        return unique_names(self.stages, self.labels)

    @property
    def types(self) -> tuple[Any, Any]:
        if not self.stages:
            return Any, Any
        return self.stages[0].types[0], self.stages[-1].types[1]

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, which: int | str) -> AnyTransform:
        """A stage by its position or its name; `"outer/inner"` reaches into those within.

        **Raises:** `WiringError` if there is none.
        """
        if isinstance(which, int) and -len(self.stages) <= which < len(self.stages):
            return self.stages[which]
        if isinstance(which, str):
            head, _, rest = which.partition("/")
            if head in self.names:
                stage = self.stages[self.names.index(head)]
                if not rest:
                    return stage
                within = stage if isinstance(stage, Chain) else getattr(stage, "inner", None)
                if isinstance(within, Chain):
                    return within[rest]
        raise WiringError(
            format_error(
                "chain",
                wanted=f"a position below {len(self.stages)} or one of {self.names}",
                got=repr(which),
                fix="Index a chain by one of these.",
            )
        )

    def init(self, agent: Tree, data: Shapes, key: Key) -> ChainState:
        states: dict[str, Tree] = {}
        for place, stage in self._places():
            own_key = stage_key(key, place.name)
            states[place.name] = init_stage(stage, place, agent, data, own_key)
            data = _shapes_after(stage, place, agent, states[place.name], data, own_key)
        return ChainState(states)

    def draw_ahead(self, key: Key) -> ChainDraws:
        return ChainDraws(
            tuple(
                draw_stage(stage, place, stage_key(key, place.name))
                for place, stage in self._places()
            )
        )

    def update(
        self, agent: Tree, state: ChainState, data: In_contra, key: Key | ChainDraws
    ) -> Step[Out_co]:
        draws = key if isinstance(key, ChainDraws) else self.draw_ahead(key)
        self._check_state(state)
        out: Any = data
        states: dict[str, Tree] = {}
        metrics: Metrics = {}
        for (place, stage), drawn in zip(self._places(), draws.stages, strict=True):
            step = run_stage(stage, place, agent, state[place.name], out, drawn)
            agent, out, states[place.name] = step.agent, step.out, step.state
            metrics = _merged(metrics, step.metrics, place)
        return Step(agent, ChainState(states), out, metrics)

    def _places(self) -> Iterator[tuple[Place, AnyTransform]]:
        names = self.names
        for position, (name, stage) in enumerate(zip(names, self.stages, strict=True)):
            giver = names[position - 1] if position else None
            yield Place(position, len(names), name, giver), stage

    def _check_state(self, state: Any) -> None:
        if isinstance(state, ChainState) and tuple(state) == self.names:
            return
        states = isinstance(state, ChainState)
        raise WiringError(
            format_error(
                "chain: state",
                wanted=f"the states of the stages {', '.join(self.names) or '(none)'}",
                got=f"those of {', '.join(state)}" if states else f"a {type(state).__name__}",
                fix="Go on with a state that init or update of the same chain gave.",
            )
        )


def stage_key(key: Key, name: str) -> Key:
    """The key of a stage, folded in by its name: putting a stage in or taking one out leaves the
    keys of the others as they are.
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _shapes_after(
    stage: AnyTransform, place: Place, agent: Tree, state: Tree, data: Shapes, key: Key
) -> Shapes:
    """The shapes of a stage's output, traced once, and only if asked for."""

    def out(agent: Tree, state: Tree, data: Any, key: Key) -> Any:
        return run_stage(stage, place, agent, state, data, draw_stage(stage, place, key)).out

    @functools.cache
    def shapes() -> Any:
        return eqx.filter_eval_shape(out, agent, state, data(), key)

    return shapes


def unique_names(
    stages: tuple[AnyTransform, ...], labels: tuple[str | None, ...]
) -> tuple[str, ...]:
    """A unique name for each stage: the label if one was given, else the stage's own.

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


def _merged(first: Metrics, second: Metrics, place: Place) -> Metrics:
    """Both dicts in one. **Raises:** `WiringError` if one would hide the other's metric."""
    shared = sorted(set(first) & set(second))
    if shared:
        raise WiringError(
            format_error(
                f"{place}: metrics",
                wanted="names that no stage before it uses",
                got=f"{shared[0]!r} again",
                fix=f"Give the stage a name of its own: chain(..., my_{place.name}=...).",
            )
        )
    return {**first, **second}


def as_chain(inner: Any, where: str = "inner") -> Chain[Any, Any]:
    """A stage as a chain of one; a chain as it is.

    **Raises:** `WiringError`, in the name of `where`, if it is no transform.
    """
    check_is_transform(where, inner)
    return inner if isinstance(inner, Chain) else Chain((inner,), (None,))


# Written out because Python's types have no "each one's output is the next one's input".
# Stages given by keyword are named by it; the editor sees only that they are transforms.


@overload
def chain() -> Chain[A, A]: ...
@overload
def chain(
    a: Transform[A, B],
    /,
) -> Chain[A, B]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    /,
) -> Chain[A, C]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    /,
) -> Chain[A, D]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    /,
) -> Chain[A, E]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    /,
) -> Chain[A, F]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    /,
) -> Chain[A, G]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    g: Transform[G, H],
    /,
) -> Chain[A, H]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    g: Transform[G, H],
    h: Transform[H, I],
    /,
) -> Chain[A, I]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    g: Transform[G, H],
    h: Transform[H, I],
    i: Transform[I, J],
    /,
) -> Chain[A, J]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    g: Transform[G, H],
    h: Transform[H, I],
    i: Transform[I, J],
    j: Transform[J, K],
    /,
) -> Chain[A, K]: ...
@overload
def chain(**named: AnyTransform) -> Chain[Any, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    /,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    /,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    /,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    /,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    /,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    /,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    g: Transform[G, H],
    /,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    g: Transform[G, H],
    h: Transform[H, I],
    /,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    g: Transform[G, H],
    h: Transform[H, I],
    i: Transform[I, J],
    /,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    g: Transform[G, H],
    h: Transform[H, I],
    i: Transform[I, J],
    j: Transform[J, K],
    /,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
@overload
def chain(
    a: Transform[A, B],
    b: Transform[B, C],
    c: Transform[C, D],
    d: Transform[D, E],
    e: Transform[E, F],
    f: Transform[F, G],
    g: Transform[G, H],
    h: Transform[H, I],
    i: Transform[I, J],
    j: Transform[J, K],
    k: Transform[K, Any],
    /,
    *more: AnyTransform,
    **named: AnyTransform,
) -> Chain[A, Any]: ...
def chain(*stages: Any, **named: Any) -> Any:
    """Chain transforms: each gets what the one before it gives.

        algorithm = chain(rollout(env, ...), gae(), minibatch(...))
        algorithm = chain(rollout(env, ...), advantage=gae(), learn=minibatch(...))

    A stage is called by its keyword, or else by the primitive's name (a second `gae` is
    `gae_2`). Names stand in errors, in metrics, in `describe`, and index the chain:
    `algorithm["gae"]`. A chain within a chain is spliced in, unless it has a keyword: then
    it stays one stage. `chain()` is the identity.

    Grouping changes nothing: `chain(a, chain(b, c))` and `chain(chain(a, b), c)` give the
    same states, outputs, metrics and random numbers, bit for bit. Each stage has a key made
    from the chain's and its own name.

    **Raises:** `WiringError` if a stage is no transform, if a name has a slash, or if the types
    that two neighbours declare do not meet.
    """
    parts: list[tuple[str | None, Any]] = [(None, stage) for stage in stages]
    parts += list(named.items())
    for position, (label, stage) in enumerate(parts):
        where = f"stage {position + 1} of {len(parts)}" + (f", {label!r}" if label else "")
        check_is_transform(where, stage)
        if label and "/" in label:
            fix = "Nest chains instead: chain(outer=chain(inner=...))."
            raise WiringError(
                format_error(where, wanted="a name without a slash", got=label, fix=fix)
            )
    spliced: list[tuple[str | None, AnyTransform]] = []
    for label, stage in parts:
        if isinstance(stage, Chain) and label is None:
            spliced += zip(stage.labels, stage.stages, strict=True)
        else:
            spliced.append((label, stage))
    result = Chain[Any, Any](
        tuple(stage for _, stage in spliced), tuple(label for label, _ in spliced)
    )
    check_neighbours(result.stages, result.names)
    return result
