"""The one interface that every stage of an algorithm has."""

import abc
import re
from types import NoneType
from typing import Any, Generic, TypeVar, final, get_args, get_origin

import equinox as eqx

from lerax_fx.types import Key, Metrics, Tree

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)
T = TypeVar("T")


@final
class Step(eqx.Module, Generic[Out_co]):
    """What one `Transform.update` returns.

    - `agent`: the agent, changed or as it came.
    - `state`: the transform's next state, of the same structure as the one that came.
    - `out`: what the next stage gets.
    - `metrics`: a flat dict of arrays. A key without a slash is filed under the stage's
      name by the chain that holds it.
    """

    agent: Tree
    state: Tree
    out: Out_co
    metrics: Metrics = eqx.field(default_factory=dict[str, Any])


class Transform(eqx.Module, Generic[In_contra, Out_co]):
    """One stage of an algorithm: takes data (and the agent), gives data (and the agent).

    Subclass it for a stage that has a state; for a pure function of the data,
    [`transform`][lerax_fx.transform] is shorter. A subclass defines `init` and `update`.
    Its fields that are floats or arrays are hyperparameters, and are traced; everything
    else in it is structure.
    """

    @abc.abstractmethod
    def init(self, agent: Tree, key: Key) -> Tree:
        """The state before the first update: a PyTree of arrays, `()` for none."""

    @abc.abstractmethod
    def update(self, agent: Tree, state: Tree, data: In_contra, key: Key) -> Step[Out_co]:
        """One update: a pure function of its arguments."""

    def draw_ahead(self, key: Key) -> Tree:
        """What chance decides in one update, as far as it needs nothing but a key: `update`
        gets it in place of the key. By default the key itself.

        A loop draws for several updates ahead, since drawing is made of many operations that
        are small and depend on nothing: among those of an update, on a CPU, threads are woken
        for them, which takes longer than they do. A stage that draws ahead takes a plain key
        as well, and does the same by it.

        Keys, whole numbers, and floats that go into nothing but comparisons and choices are for
        drawing ahead. A sum or a product of other floats may be rounded otherwise where a run is
        cut otherwise, for XLA fuses what is drawn for one update with the rest of it.
        """
        return key

    @property
    def keeps_data(self) -> bool:
        """Whether the state holds data, so that it takes `init_for` to make it."""
        return False

    def init_for(self, agent: Tree, key: Key, data: Any) -> Tree:
        """The state before the first update, where what will come is known.

        **Arguments:**

        - `data`: what `update` will get, with `jax.ShapeDtypeStruct`s for arrays.
        """
        del data
        return self.init(agent, key)

    @property
    def name(self) -> str:
        """What the stage is called where nobody gave it a name: the class's, in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def draws(self) -> int:
        """How many independent keys `update` wants: 0 for a deterministic stage.

        A chain splits its key among the stages that draw, so that a deterministic stage
        can be put in or taken out without a change to anybody's random numbers.
        """
        return 1

    @property
    def input_type(self) -> Any:
        """The type of data that `update` wants: `NoneType` for a source, `Any` for all."""
        return declared_types(type(self))[0]

    @property
    def output_type(self) -> Any:
        """The type of data that `update` gives, `Any` if it depends on what comes."""
        return declared_types(type(self))[1]

    def inside(self, agent: Tree, state: Tree, data: Any, key: Key) -> "Inside | None":
        """For a transform made of another: that one, and what it is called with."""
        del agent, state, data, key
        return None


@final
class Inside(eqx.Module):
    """The transform within a higher-order one, with the state and the data that it sees."""

    transform: Transform[Any, Any]
    state: Tree
    data: Any


def declared_types(cls: type) -> tuple[Any, Any]:
    """The `In` and `Out` that a class gave to `Transform[In, Out]`; `Any` for a TypeVar."""
    for base in cls.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            if get_origin(generic) is Transform:
                wanted, given = get_args(generic)
                return _concrete(wanted), _concrete(given)
    return Any, Any


def _concrete(annotation: Any) -> Any:
    if annotation is None:
        return NoneType
    if isinstance(annotation, TypeVar):
        return Any
    return get_origin(annotation) or annotation


@final
class Identity(Transform[T, T]):
    """See [`identity`][lerax_fx.identity]."""

    @property
    def draws(self) -> int:
        return 0

    def init(self, agent: Tree, key: Key) -> Tree:
        del agent, key
        return ()

    def update(self, agent: Tree, state: Tree, data: T, key: Key) -> Step[T]:
        del key
        return Step(agent, state, data)


def identity() -> Transform[T, T]:
    """The transform that does nothing: `chain(a, identity())` acts as `a`."""
    return Identity()
