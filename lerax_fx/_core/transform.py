"""The interface of every stage of an algorithm."""

import abc
import re
from collections.abc import Callable
from types import NoneType
from typing import Any, Generic, TypeAlias, TypeVar, final, get_args, get_origin

import equinox as eqx

from lerax_fx.typing import Key, Metrics, Tree

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)
T = TypeVar("T")

Shapes: TypeAlias = Callable[[], Any]
"""A function without arguments that gives data with `jax.ShapeDtypeStruct`s for arrays."""


@final
class Step(eqx.Module, Generic[Out_co]):
    """What [`Transform.update`][lerax_fx.Transform] returns.

    - `agent`: the agent, changed or as it came.
    - `state`: the transform's next state, of the structure, shapes and dtypes that came.
    - `out`: what the next stage gets.
    - `metrics`: a dict of scalars. Their names have no slash: a chain files them under the
      stage's name.
    """

    agent: Tree
    state: Tree
    out: Out_co
    metrics: Metrics = eqx.field(default_factory=dict[str, Any])


class Transform(eqx.Module, Generic[In_contra, Out_co]):
    """One stage of an algorithm: takes data (and the agent), gives data (and the agent).

    Subclass it for a stage that has a state, and define `init` and `update`; for a pure
    function, [`transform`][lerax_fx.transform] is shorter; for a stage around another stage,
    [`Wrapper`][lerax_fx.Wrapper]. Fields that are floats, arrays or schedules are
    hyperparameters, and are traced; everything else is structure.

    `Transform[In, Out]` says which data it takes and gives. A chain checks both, and that the
    agent and the state keep their structure, shapes and dtypes.
    """

    @abc.abstractmethod
    def init(self, agent: Tree, data: Shapes, key: Key) -> Tree:
        """The state before the first update: a PyTree of arrays, `()` for none.

        **Arguments:**

        - `data`: a function that gives what `update` will get, with `jax.ShapeDtypeStruct`s
          for arrays: for a state whose shapes depend on it, such as a replay buffer. It traces
          the stages before this one, so call it only if the shapes are needed.
        """

    @abc.abstractmethod
    def update(self, agent: Tree, state: Tree, data: In_contra, key: Key) -> Step[Out_co]:
        """One update: a pure function of its arguments."""

    def draw_ahead(self, key: Key) -> Tree:
        """Random draws that depend only on the key: `update` gets them in place of the key. By
        default the key itself.

        Optional, for speed: a loop calls it for several updates at once. Drawing is many small
        operations, for which XLA's CPU backend wakes threads; among those of an update that
        takes longer than they do. A stage that draws ahead takes a plain key as well, with the
        same result.

        Return keys, bits, ints, and floats that are only compared or selected. A sum or a
        product of other floats may be rounded otherwise where a run is cut otherwise, because
        XLA fuses the draws of a single update with the rest of it.
        """
        return key

    @property
    def name(self) -> str:
        """The stage's name in a chain that gives it none: the class's, in snake case."""
        name = type(self).__name__.removesuffix("Stage")
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
        return re.sub(r"(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()

    @property
    def types(self) -> tuple[Any, Any]:
        """The types of data that `update` takes and gives, from `Transform[In, Out]`:
        `NoneType` for a stage that starts an algorithm, `Any` for all.
        """
        return declared_types(type(self))


def declared_types(cls: type) -> tuple[Any, Any]:
    """The `In` and `Out` that a class gave to `Transform[In, Out]`, or to a subclass of it;
    `Any` for a TypeVar.
    """
    for base in cls.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            origin = get_origin(generic)
            if isinstance(origin, type) and issubclass(origin, Transform):
                wanted, given = get_args(generic)
                return runtime_type(wanted), runtime_type(given)
    return Any, Any


def runtime_type(annotation: Any) -> Any:
    """The class to call `isinstance` with; `Any` if there is none."""
    if annotation is None or annotation is NoneType:
        return NoneType
    annotation = get_origin(annotation) or annotation
    return annotation if isinstance(annotation, type) else Any


@final
class Identity(Transform[T, T]):
    """See [`identity`][lerax_fx.identity]."""

    def init(self, agent: Tree, data: Shapes, key: Key) -> Tree:
        del agent, data, key
        return ()

    def update(self, agent: Tree, state: Tree, data: T, key: Key) -> Step[T]:
        del key
        return Step(agent, state, data)


def identity() -> Transform[T, T]:
    """The transform that does nothing: `chain(a, identity())` equals `chain(a)`."""
    return Identity()
