"""Action and observation spaces.

Sizes, shapes and dtypes are structure, hence static. The bounds of a `Box` are arrays: an
environment computes them from its parameters, which may be traced.
"""

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Num

from lerax_fx._core.arguments import check_count
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.typing import Flag, Key, Tree


class Space(eqx.Module):
    """A space: a set of arrays, or of PyTrees of arrays."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of an element. **Raises** `WiringError` where that is no one array."""

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """The dtype of an element. **Raises** `WiringError` where that is no one array."""

    @property
    @abc.abstractmethod
    def flat_size(self) -> int:
        """The length of a flattened element."""

    @abc.abstractmethod
    def sample(self, key: Key) -> Tree:
        """A random element; uniform where the space is bounded."""

    @abc.abstractmethod
    def contains(self, x: Any) -> Flag:
        """Whether `x` is an element: bool, `()`, also while tracing. False if the shape or
        the kind of dtype (float, int, bool) differs.
        """

    @abc.abstractmethod
    def flatten(self, x: Tree) -> Float[Array, "{self.flat_size}"]:
        """An element as one vector of floats, of shape `(flat_size,)`. Categories become one-hot;
        bytes (a `Box` of uint8) are scaled to [0, 1].
        """


@final
class Box(Space):
    """Arrays of one shape, each entry between two bounds, both included.

    **Arguments:**

    - `low`, `high`: numbers, or arrays that broadcast to `shape`. An infinite bound, or
      one of the largest magnitude that the dtype holds, is no bound.
      Of integers, the bounds are the outermost integers within.
    - `shape`: that of the bounds, by default.
    - `dtype`: float, integer or bool; as JAX has it, which without `jax_enable_x64` makes
      32 bits of 64.

    **Raises:** `HyperparameterError` if the bounds do not broadcast, cross each other, or are
    NaN, and for a shape or a dtype of another kind.
    """

    low: Num[Array | np.ndarray, "..."] | Bool[Array | np.ndarray, "..."]
    high: Num[Array | np.ndarray, "..."] | Bool[Array | np.ndarray, "..."]
    _shape: tuple[int, ...] = eqx.field(static=True)
    _dtype: np.dtype[Any] = eqx.field(static=True)

    def __init__(
        self, low: Any, high: Any, shape: Sequence[int] | None = None, dtype: Any = np.float32
    ):
        if shape is None:
            shape = np.broadcast_shapes(np.shape(low), np.shape(high))
        self._shape = _sizes(shape)
        self._dtype = _box_dtype(dtype)
        self.low = _bound("low", low, self._shape, self._dtype)
        self.high = _bound("high", high, self._shape, self._dtype)
        _check_order(self.low, self.high)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    @property
    def flat_size(self) -> int:
        return int(np.prod(self._shape))

    @property
    def bounded(self) -> bool | Flag:
        """Whether every entry has both bounds. Traced if the bounds are."""
        sides = _is_finite(self.low, self._dtype) & _is_finite(self.high, self._dtype)
        return bool(sides.all()) if isinstance(sides, np.ndarray) else sides.all()

    def sample(self, key: Key) -> Tree:
        if jnp.issubdtype(self._dtype, jnp.floating):
            return self._sample_float(key)
        return self._sample_whole(key)

    def contains(self, x: Any) -> Flag:
        if not _is_array_of(x, self._shape, self._dtype):
            return jnp.zeros((), bool)
        inside = (jnp.asarray(x) >= self.low) & (jnp.asarray(x) <= self.high)
        return jnp.all(inside)

    def flatten(self, x: Tree) -> Float[Array, "{self.flat_size}"]:
        flat = jnp.ravel(x).astype(_float_dtype(self._dtype))
        return flat * (1 / 255) if self._dtype == np.uint8 else flat

    def __repr__(self) -> str:
        if self._dtype == np.float32:
            return f"Box{self._shape}"
        return f"Box{self._shape} of {self._dtype}"

    def _sample_float(self, key: Key) -> Tree:
        below, above = _is_finite(self.low, self._dtype), _is_finite(self.high, self._dtype)
        low, high = jnp.where(below, self.low, 0.0), jnp.where(above, self.high, 0.0)
        keys = jax.random.split(key, 3)
        uniform = jax.random.uniform(keys[0], self._shape, self._dtype)
        beyond = jax.random.exponential(keys[1], self._shape, self._dtype)
        anywhere = jax.random.normal(keys[2], self._shape, self._dtype)
        # A mean of the bounds instead of `low + uniform * (high - low)`: the width of a
        # box may be more than the dtype holds.
        between = (1 - uniform) * low + uniform * high
        half = jnp.where(below, low + beyond, high - beyond)
        drawn = jnp.where(below | above, half, anywhere)
        drawn = jnp.where(below & above, between, drawn)
        return jnp.clip(drawn, self.low, self.high).astype(self._dtype)

    def _sample_whole(self, key: Key) -> Tree:
        small = self._dtype.itemsize < np.dtype(np.int32).itemsize
        wide = np.dtype(np.int32) if small else self._dtype
        # `randint` leaves its upper end out, and one above the highest int32 is no int32:
        # that one value is never drawn.
        highest = np.asarray(np.iinfo(wide).max - 1, wide)
        top = jnp.minimum(jnp.asarray(self.high, wide), highest) + 1
        drawn = jax.random.randint(key, self._shape, jnp.asarray(self.low, wide), top, wide)
        return drawn.astype(self._dtype)


@final
class Discrete(Space):
    """The integers from 0 to `n - 1`: int32, `()`.

    **Raises:** `HyperparameterError` if `n` is not an int of at least 1.
    """

    n: int = eqx.field(static=True)

    def __init__(self, n: int):
        self.n = check_count("Discrete: n", n)

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int32)

    @property
    def flat_size(self) -> int:
        return self.n

    def sample(self, key: Key) -> Tree:
        return jax.random.randint(key, (), 0, self.n, self.dtype)

    def contains(self, x: Any) -> Flag:
        if not _is_array_of(x, (), self.dtype):
            return jnp.zeros((), bool)
        return (jnp.asarray(x) >= 0) & (jnp.asarray(x) < self.n)

    def flatten(self, x: Tree) -> Float[Array, "{self.flat_size}"]:
        return jax.nn.one_hot(x, self.n)

    def __repr__(self) -> str:
        return f"Discrete({self.n})"


@final
class MultiDiscrete(Space):
    """Vectors of integers, entry `i` from 0 to `nvec[i] - 1`: int32, `(len(nvec),)`.

    **Raises:** `HyperparameterError` unless `nvec` holds one or more ints of at least 1.
    """

    nvec: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, nvec: Iterable[int]):
        try:
            sizes = list(nvec)
        except TypeError as error:
            raise HyperparameterError(
                format_error(
                    "MultiDiscrete: nvec",
                    wanted="a sequence of ints",
                    got=f"{nvec!r}",
                    fix="Pass how many values each entry has, such as [2, 3].",
                )
            ) from error
        check_count("MultiDiscrete: length of nvec", len(sizes))
        self.nvec = tuple(check_count(f"MultiDiscrete: nvec[{i}]", n) for i, n in enumerate(sizes))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.nvec),)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int32)

    @property
    def flat_size(self) -> int:
        return sum(self.nvec)

    def sample(self, key: Key) -> Tree:
        return jax.random.randint(key, self.shape, 0, np.asarray(self.nvec), self.dtype)

    def contains(self, x: Any) -> Flag:
        if not _is_array_of(x, self.shape, self.dtype):
            return jnp.zeros((), bool)
        return jnp.all((jnp.asarray(x) >= 0) & (jnp.asarray(x) < np.asarray(self.nvec)))

    def flatten(self, x: Tree) -> Float[Array, "{self.flat_size}"]:
        return jnp.concatenate([jax.nn.one_hot(x[i], n) for i, n in enumerate(self.nvec)])

    def __repr__(self) -> str:
        return f"MultiDiscrete({list(self.nvec)})"


@final
class MultiBinary(Space):
    """Vectors of `n` zeros and ones: int8, `(n,)`.

    **Raises:** `HyperparameterError` if `n` is not an int of at least 1.
    """

    n: int = eqx.field(static=True)

    def __init__(self, n: int):
        self.n = check_count("MultiBinary: n", n)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n,)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int8)

    @property
    def flat_size(self) -> int:
        return self.n

    def sample(self, key: Key) -> Tree:
        return jax.random.bernoulli(key, shape=self.shape).astype(self.dtype)

    def contains(self, x: Any) -> Flag:
        if not _is_array_of(x, self.shape, self.dtype):
            return jnp.zeros((), bool)
        return jnp.all((jnp.asarray(x) == 0) | (jnp.asarray(x) == 1))

    def flatten(self, x: Tree) -> Float[Array, "{self.flat_size}"]:
        return jnp.asarray(x).astype(_float_dtype(self.dtype))

    def __repr__(self) -> str:
        return f"MultiBinary({self.n})"


@final
class Tuple(Space):
    """Tuples with one element of each of the given spaces.

    **Raises:** `HyperparameterError` if one of them is no space.
    """

    spaces: tuple[Space, ...]

    def __init__(self, spaces: Iterable[Space]):
        _check_kind("Tuple", spaces, Iterable, "sequence", "(Discrete(2), Box(0.0, 1.0))")
        self.spaces = tuple(_space(f"Tuple: spaces[{i}]", space) for i, space in enumerate(spaces))

    @property
    def shape(self) -> tuple[int, ...]:
        raise _no_single_array(self, "shape")

    @property
    def dtype(self) -> np.dtype[Any]:
        raise _no_single_array(self, "dtype")

    @property
    def flat_size(self) -> int:
        return sum(space.flat_size for space in self.spaces)

    def sample(self, key: Key) -> Tree:
        return _sample_each(self.spaces, key)

    def contains(self, x: Any) -> Flag:
        if not isinstance(x, tuple):
            return jnp.zeros((), bool)
        parts = cast("tuple[Any, ...]", x)
        if len(parts) != len(self.spaces):
            return jnp.zeros((), bool)
        return _contains_each(self.spaces, parts)

    def flatten(self, x: Tree) -> Float[Array, "{self.flat_size}"]:
        return _flatten_each(self.spaces, tuple(x))

    def __repr__(self) -> str:
        return f"Tuple({', '.join(map(repr, self.spaces))})"


@final
class Dict(Space):
    """Dicts with one element of each of the given spaces, under the same keys. As in every
    PyTree, the order is that of the sorted keys.

    **Raises:** `HyperparameterError` if one of them is no space, or a key is no string.
    """

    spaces: dict[str, Space]

    def __init__(self, spaces: Mapping[str, Space]):
        _check_kind("Dict", spaces, Mapping, "mapping", '{"seen": Box(0.0, 1.0)}')
        for key in spaces:
            if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers are not all type-checked
                raise HyperparameterError(
                    format_error(
                        "Dict: spaces",
                        wanted="strings for keys",
                        got=repr(key),
                        fix="Name each space.",
                    )
                )
        self.spaces = {key: _space(f"Dict: spaces[{key!r}]", spaces[key]) for key in sorted(spaces)}

    @property
    def shape(self) -> tuple[int, ...]:
        raise _no_single_array(self, "shape")

    @property
    def dtype(self) -> np.dtype[Any]:
        raise _no_single_array(self, "dtype")

    @property
    def flat_size(self) -> int:
        return sum(space.flat_size for space in self.spaces.values())

    def sample(self, key: Key) -> Tree:
        drawn = _sample_each(tuple(self.spaces.values()), key)
        return dict(zip(self.spaces, drawn, strict=True))

    def contains(self, x: Any) -> Flag:
        if not isinstance(x, dict):
            return jnp.zeros((), bool)
        parts = cast("dict[Any, Any]", x)
        if set(parts) != set(self.spaces):
            return jnp.zeros((), bool)
        ordered = tuple(parts[key] for key in self.spaces)
        return _contains_each(tuple(self.spaces.values()), ordered)

    def flatten(self, x: Tree) -> Float[Array, "{self.flat_size}"]:
        return _flatten_each(tuple(self.spaces.values()), tuple(x[key] for key in self.spaces))

    def __repr__(self) -> str:
        return f"Dict({', '.join(f'{key}: {space!r}' for key, space in self.spaces.items())})"


def _bound(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """A bound in full: numpy's where the value is known, so that nothing is put on a
    device to describe a space.
    """
    traced = isinstance(value, Tracer)
    try:
        if traced:
            return jnp.broadcast_to(cast(Any, value), shape).astype(dtype)
        return np.broadcast_to(_fit(name, _numbers(name, value), dtype), shape)
    except (TypeError, ValueError) as error:
        raise HyperparameterError(
            format_error(
                f"Box: {name}",
                wanted=f"a number, or an array that broadcasts to {shape}, without NaN",
                got=f"{value!r}",
                fix="Pass bounds of the space's shape, or one number for all entries.",
            )
        ) from error


def _numbers(name: str, value: Any) -> np.ndarray:
    bound = np.asarray(value)
    if jnp.issubdtype(bound.dtype, jnp.floating) and np.isnan(bound).any():
        raise ValueError(f"NaN is no bound: {name}")
    return bound


def _fit(name: str, bound: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Cast. Of integers the bounds are integers within, and what the dtype cannot hold
    (infinity, say) is brought to its range.
    """
    if np.issubdtype(dtype, np.integer):
        if np.issubdtype(bound.dtype, np.floating) and not np.isnan(bound).any():
            bound = np.ceil(bound) if name == "low" else np.floor(bound)
        bound = np.clip(bound, np.iinfo(dtype).min, np.iinfo(dtype).max)
        if np.issubdtype(bound.dtype, np.floating):
            # The largest int32 is no float32, the largest int64 no float64.
            top = np.iinfo(dtype).max
            over = bound >= float(top)
            return np.where(over, top, np.where(over, 0, bound).astype(dtype)).astype(dtype)
    return np.asarray(bound, dtype)


def _sizes(shape: Any) -> tuple[int, ...]:
    try:
        sizes = list(shape)
    except TypeError as error:
        raise HyperparameterError(
            format_error("Box: shape", wanted="a tuple of ints", got=f"{shape!r}", fix="Pass (n,).")
        ) from error
    return tuple(check_count(f"Box: shape[{i}]", n, at_least=0) for i, n in enumerate(sizes))


def _box_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype that JAX gives to arrays of it."""
    try:
        found = jax.dtypes.canonicalize_dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    if any(jnp.issubdtype(found, kind) for kind in kinds):
        return found
    raise HyperparameterError(
        format_error(
            "Box: dtype",
            wanted="a dtype of floats, ints or bools",
            got=f"{dtype!r}",
            fix="Pass for instance jnp.float32, or one-hot encode categories.",
        )
    )


def _check_order(low: Any, high: Any) -> None:
    if not (isinstance(low, np.ndarray) and isinstance(high, np.ndarray)):
        return
    if not np.all(low <= high):
        raise HyperparameterError(
            format_error(
                "Box: low, high",
                wanted="low <= high in every entry",
                got=f"low {low.tolist()}, high {high.tolist()}",
                fix="Swap the bounds, or look for a NaN among them.",
            )
        )


def _is_finite(bound: Any, dtype: np.dtype[Any]) -> Any:
    """Whether a bound is one: many environments write the largest float for infinity."""
    if not jnp.issubdtype(dtype, jnp.floating):
        return np.ones(np.shape(bound), bool)
    return abs(bound) < float(cast(Any, jnp.finfo(dtype)).max)


def _is_array_of(x: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether `x` has the shape, and the kind of dtype, that a space wants."""
    try:
        found = np.dtype(jnp.result_type(x))
    except (TypeError, ValueError):
        return False
    return np.shape(x) == shape and _kind(found) == _kind(dtype)


def _kind(dtype: np.dtype[Any]) -> str:
    return next(
        (kind.__name__ for kind in (np.bool_, np.integer) if np.issubdtype(dtype, kind)),
        "floating" if jnp.issubdtype(dtype, jnp.floating) else str(dtype),
    )


def _float_dtype(dtype: np.dtype[Any]) -> Any:
    """A float dtype stays; integers become JAX's default float."""
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.zeros(()).dtype


def _sample_each(spaces: tuple[Space, ...], key: Key) -> tuple[Tree, ...]:
    keys = jax.random.split(key, len(spaces))
    return tuple(space.sample(keys[i]) for i, space in enumerate(spaces))


def _contains_each(spaces: tuple[Space, ...], parts: tuple[Any, ...]) -> Flag:
    inside = jnp.ones((), bool)
    for space, part in zip(spaces, parts, strict=True):
        inside = inside & space.contains(part)
    return inside


def _flatten_each(spaces: tuple[Space, ...], parts: tuple[Any, ...]) -> Float[Array, " size"]:
    flat = [space.flatten(part) for space, part in zip(spaces, parts, strict=True)]
    return jnp.concatenate([jnp.zeros((0,)), *flat])


def _check_kind(name: str, spaces: Any, kind: Any, wanted: str, example: str) -> None:
    """**Raises:** `HyperparameterError` for spaces that are in none of this kind."""
    if not isinstance(spaces, kind):
        raise HyperparameterError(
            format_error(
                f"{name}: spaces",
                wanted=f"a {wanted} of spaces",
                got=f"{spaces!r}",
                fix=f"Pass for instance {example}.",
            )
        )


def _space(where: str, value: Any) -> Space:
    if isinstance(value, Space):
        return value
    raise HyperparameterError(
        format_error(
            where,
            wanted="a Space",
            got=f"{value!r} of type {type(value).__name__}",
            fix="Build it from Box, Discrete, MultiDiscrete, MultiBinary, Tuple and Dict.",
        )
    )


def _no_single_array(space: Space, what: str) -> WiringError:
    return WiringError(
        format_error(
            f"{type(space).__name__}: {what}",
            wanted=f"a space whose elements are one array, which has a {what}",
            got=f"{space!r}",
            fix="Wrap the environment in fx.envs.FlattenObservation, or use the space's `flatten` "
            "and `flat_size`.",
        )
    )


__all__ = [
    "Box",
    "Dict",
    "Discrete",
    "MultiBinary",
    "MultiDiscrete",
    "Space",
    "Tuple",
]
