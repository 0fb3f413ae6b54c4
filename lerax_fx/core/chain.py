"""Chains: transforms one after another, themselves a transform."""

import functools
from typing import Any, TypeVar, final, overload

import equinox as eqx
import jax

from lerax_fx.core.checked import Checked
from lerax_fx.core.names import filed, merged, unique_names
from lerax_fx.core.transform import In_contra, Out_co, Step, Transform
from lerax_fx.core.wiring import (
    check_input,
    check_is_transform,
    check_neighbours,
    check_step,
    stage_context,
)
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Key, Metrics, Tree

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
class ChainAhead(eqx.Module):
    """What chance decides in a chain: in each of its `stages`, in order."""

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
    def draws(self) -> int:
        return sum(stage.draws for stage in self.stages)

    @property
    def input_type(self) -> Any:
        return self.stages[0].input_type if self.stages else Any

    @property
    def output_type(self) -> Any:
        return self.stages[-1].output_type if self.stages else Any

    def __len__(self) -> int:
        return len(self.stages)

    def __getitem__(self, which: int | str) -> AnyTransform:
        """A stage by its position or its name; `"outer/inner"` reaches into a named chain.

        **Raises:** `WiringError` if there is none.
        """
        if isinstance(which, int) and -len(self.stages) <= which < len(self.stages):
            return self.stages[which]
        if isinstance(which, str):
            head, _, rest = which.partition("/")
            if head in self.names:
                stage = self.stages[self.names.index(head)]
                return stage[rest] if rest and isinstance(stage, Chain) else stage
        raise WiringError(
            explain(
                "chain",
                wanted=f"a position below {len(self.stages)} or one of {self.names}",
                got=repr(which),
                fix="Index a chain by one of these.",
            )
        )

    @property
    def keeps_data(self) -> bool:
        return any(stage.keeps_data for stage in self.stages)

    def init(self, agent: Tree, key: Key) -> Tree:
        return self._init(agent, self._keys(key), None)

    def init_for(self, agent: Tree, key: Key, data: Any) -> Tree:
        return self._init(agent, self._keys(key), data)

    def draw_ahead(self, key: Key) -> ChainAhead:
        return self._draw_ahead(self._keys(key))

    def update(
        self, agent: Tree, state: Tree, data: In_contra, key: Key | ChainAhead
    ) -> Step[Out_co]:
        ahead = key if isinstance(key, ChainAhead) else self.draw_ahead(key)
        out: Any = data
        states: list[Tree] = []
        metrics: Metrics = {}
        giver: str | None = None
        rows = zip(self.stages, self.names, state, ahead.stages, strict=True)
        for position, (stage, name, stage_state, chance) in enumerate(rows):
            step = self._run(position, name, giver, agent, stage_state, out, chance)
            agent, out, giver = step.agent, step.out, name
            states.append(step.state)
            metrics = merged(metrics, filed(step.metrics, name, stage.name), name)
        return Step(agent, tuple(states), out, metrics)

    # Keys are counted by the stages beneath that draw, so that the grouping of nested
    # chains does not matter: chain(a, chain(b, c)) splits its key into as many as
    # chain(a, b, c). One draw takes the key as it is, as that stage alone would.

    def _keys(self, key: Key) -> tuple[Key, ...]:
        return (key,) if self.draws <= 1 else tuple(jax.random.split(key, self.draws))

    def _shares(self, keys: tuple[Key, ...]) -> list[tuple[Key, ...]]:
        """The keys of each stage. One that draws nothing gets a key that it must not use."""
        shares: list[tuple[Key, ...]] = []
        taken = 0
        for stage in self.stages:
            shares.append(keys[taken : taken + stage.draws] or keys[:1])
            taken += stage.draws
        return shares

    def _draw_ahead(self, keys: tuple[Key, ...]) -> ChainAhead:
        shares = enumerate(self._shares(keys))
        return ChainAhead(tuple(self._drawn(position, share) for position, share in shares))

    def _drawn(self, position: int, share: tuple[Key, ...]) -> Tree:
        stage = self.stages[position]
        with stage_context(position, len(self.stages), self.names[position]):
            if isinstance(stage, Chain):
                return stage._draw_ahead(share)
            return stage.draw_ahead(share[0])

    def _init(self, agent: Tree, keys: tuple[Key, ...], data: Any) -> Tree:
        states: list[Tree] = []
        giver: str | None = None
        rows = zip(self.stages, self.names, self._shares(keys), strict=True)
        for position, (stage, name, share) in enumerate(rows):
            with stage_context(position, len(self.stages), name):
                if isinstance(stage, Chain):
                    states.append(stage._init(agent, share, data))
                else:
                    states.append(stage.init_for(agent, share[0], data))
            # Abstractly, and only for a stage to come that asks for it: it costs tracing time.
            if any(later.keeps_data for later in self.stages[position + 1 :]):
                run = functools.partial(self._run, position, name, giver)
                given = functools.partial(self._out, position, run)
                data = eqx.filter_eval_shape(given, share, agent, states[-1], data)
                giver = name
        return tuple(states)

    def _out(self, position: int, run: Any, share: tuple[Key, ...], *seen: Tree) -> Any:
        return run(*seen, self._drawn(position, share)).out

    def _run(
        self,
        position: int,
        name: str,
        giver: str | None,
        agent: Tree,
        state: Tree,
        data: Any,
        chance: Tree,
    ) -> Step[Any]:
        """One stage, with what it gets and gives checked."""
        stage, where = self.stages[position], (position, len(self.stages), name)
        check_input(*where, stage.input_type, data, giver)
        with stage_context(*where):
            step = stage.update(agent, state, data, chance)
            check_step(f"stage {position + 1}, {name!r}", step, stage.output_type)
            if isinstance(step.out, Checked):
                step.out.checked()
        return step


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
    """Put transforms one after another: each gets what the one before it gives.

        algorithm = chain(rollout(env, ...), gae(), minibatch(...))
        algorithm = chain(rollout(env, ...), advantage=gae(), learn=minibatch(...))

    A stage is called by its keyword, or else by the primitive's name (a second `gae` is
    `gae_2`). Names stand in errors, in metrics, in `describe`, and index the chain:
    `algorithm["gae"]`. A chain within a chain is spliced in, unless it has a keyword: then
    it stays one stage. `chain()` is the identity.

    Grouping changes nothing: `chain(a, chain(b, c))` and `chain(chain(a, b), c)` give the
    same states, outputs, metrics and random numbers, bit for bit.

    **Raises:** `WiringError` if a stage is no transform, or if the types that two
    neighbours declare do not meet.
    """
    parts: list[tuple[str | None, Any]] = [(None, stage) for stage in stages]
    parts += list(named.items())
    for position, (label, stage) in enumerate(parts):
        where = f"stage {position + 1} of {len(parts)}" + (f", {label!r}" if label else "")
        check_is_transform(where, stage)
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
