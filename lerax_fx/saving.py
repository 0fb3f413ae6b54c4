"""Saving and loading: one file for a PyTree, without pickle.

A file is a line that tells its format, a line of JSON that describes each leaf (its path, kind,
shape and dtype), the leaves as Equinox serialises them, and a last line, which a truncated file
lacks.
"""

import contextlib
import json
import os
import uuid
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from lerax_fx.errors import SavingError, format_error

T = TypeVar("T")
PathLike = str | os.PathLike[str]
_Described = dict[str, dict[str, Any]]

_FIRST_LINE = b"lerax_fx PyTree 1\n"
_LAST_LINE = b"lerax_fx end\n"


def save(path: PathLike, tree: Any) -> None:
    """Write the arrays, random keys and numbers of a PyTree to a file.

        fx.save("run.fx", state)
        state = fx.load("run.fx", train.init(agent, key))

    What is no array, random key or Python number (functions, strings) is not saved. The file
    is written under another name in the same folder, and renamed when it is complete: a file
    that was there before is replaced by a whole one, or stays as it was.

    **Arguments:**

    - `path`: the file, in a folder that exists.
    - `tree`: any PyTree: an agent, a [`TrainState`][lerax_fx.loops.TrainState].

    **Raises:** `SavingError` if the file cannot be written, or inside `jax.jit`.
    """
    path = Path(path)
    described = _describe("save: tree", tree)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with open(temporary, "xb") as file:
            file.write(_FIRST_LINE + json.dumps(described).encode() + b"\n")
            eqx.tree_serialise_leaves(file, tree, _write_leaf)
            file.write(_LAST_LINE)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise SavingError(
            format_error(
                "save: path",
                wanted="a file that can be written, in a folder that exists",
                got=f"{str(path)!r}: {error.strerror or error}",
                fix="Make the folder, or pass another path.",
            )
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def load(path: PathLike, like: T) -> T:
    """Read a PyTree that [`save`][lerax_fx.save] wrote.

    **Arguments:**

    - `like`: a PyTree of the same structure, shapes and dtypes: its leaves are replaced by
      those of the file, and what is not saved is taken from it. Arrays may be
      `jax.ShapeDtypeStruct`s, from `jax.eval_shape`.

    **Raises:** `SavingError` if there is no such file, if `save` did not write it, if it is
    truncated, or if a leaf of it differs from that of `like` in path, shape or dtype: the
    first that does is named.
    """
    path, wanted = Path(path), _describe("load: like", like)
    try:
        with open(path, "rb") as file:
            return _read(path, file, like, wanted)
    except OSError as error:
        raise SavingError(
            format_error(
                "load: path",
                wanted="a file that can be read",
                got=f"{str(path)!r}: {error.strerror or error}",
                fix="Pass the path that was given to fx.save.",
            )
        ) from error


def _read(path: Path, file: BinaryIO, like: T, wanted: _Described) -> T:
    if file.read(len(_FIRST_LINE)) != _FIRST_LINE:
        raise SavingError(
            format_error(
                "load: path",
                wanted="a file that fx.save wrote",
                got=f"{str(path)!r}, which begins otherwise",
                fix="Pass the path that was given to fx.save.",
            )
        )
    try:
        found = json.loads(file.readline())
        _check_same(path, wanted, found)
        tree = eqx.tree_deserialise_leaves(file, jax.tree.map(_any_key, like), _read_leaf)
        complete = file.read() == _LAST_LINE
    except SavingError:
        raise
    # Of numpy's format and of JSON; Equinox's own, which holds numpy's, is a RuntimeError.
    except (EOFError, ValueError, RuntimeError) as error:
        raise _truncated(path) from error
    if not complete:
        raise _truncated(path)
    return tree


def _truncated(path: Path) -> SavingError:
    return SavingError(
        format_error(
            "load: path",
            wanted="a complete file",
            got=f"{str(path)!r}, which is truncated or was changed",
            fix="Save it again, or load an earlier file.",
        )
    )


def _check_same(path: Path, wanted: _Described, found: _Described) -> None:
    """**Raises:** `SavingError` for the first leaf that differs."""
    fix = "Pass `like` from the algorithm, agent and sizes that were saved."
    for name in [*wanted, *found]:
        if wanted.get(name) != found.get(name):
            raise SavingError(
                format_error(
                    f"load: {name or 'like'}",
                    wanted=_in_words(wanted.get(name)),
                    got=f"{_in_words(found.get(name))} in {str(path)!r}",
                    fix=fix,
                )
            )
    if list(wanted) != list(found):
        raise SavingError(
            format_error(
                "load: like",
                wanted="leaves in this order: " + ", ".join(wanted),
                got=f"{', '.join(found)} in {str(path)!r}",
                fix=fix,
            )
        )


def _in_words(leaf: dict[str, Any] | None) -> str:
    if leaf is None:
        return "no such leaf"
    if leaf["kind"] == "number":
        return f"a Python {leaf['dtype']}"
    kind = "random keys" if leaf["kind"] == "key" else "an array"
    return f"{kind} of shape {tuple(leaf['shape'])}, {leaf['dtype']}"


def _describe(where: str, tree: Any) -> _Described:
    """By path, the kind, shape and dtype of each leaf that a file holds."""
    described: _Described = {}
    for entries, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(entries)
        if isinstance(leaf, Tracer):
            raise SavingError(
                format_error(
                    f"{where}{name}",
                    wanted="an array with values",
                    got="a tracer",
                    fix="Save and load outside of jax.jit and other transformations.",
                )
            )
        if _is_number(leaf):
            described[name] = {"kind": "number", "shape": [], "dtype": type(leaf).__name__}
        elif _is_key(leaf):
            described[name] = {"kind": "key", "shape": leaf.shape, "dtype": str(leaf.dtype)}
        elif _is_array(leaf):
            described[name] = {"kind": "array", "shape": leaf.shape, "dtype": str(leaf.dtype)}
    return json.loads(json.dumps(described))  # as it comes out of a file


def _is_number(leaf: Any) -> bool:
    return type(leaf) in (bool, int, float, complex)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _is_key(leaf: Any) -> bool:
    return _is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _implementation(like: Any) -> str:
    """The name of a random key's implementation, by its dtype."""
    names = "threefry2x32", "rbg", "unsafe_rbg"
    return next(name for name in names if jax.random.key(0, impl=name).dtype == like.dtype)


def _any_key(like: Any) -> Any:
    """Keys for the shape of keys, which Equinox would take for another type than keys."""
    if not (isinstance(like, jax.ShapeDtypeStruct) and _is_key(like)):
        return like
    return jnp.broadcast_to(jax.random.key(0, impl=_implementation(like)), like.shape)


def _write_leaf(file: BinaryIO, leaf: Any) -> None:
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    elif not (_is_number(leaf) or _is_array(leaf)):
        return
    array = np.asarray(leaf)
    # numpy's format knows numpy's own dtypes alone: bfloat16 and others are written as bytes.
    own = array.dtype.isbuiltin == 1
    np.save(file, array if own else _as_bytes(array), allow_pickle=False)


def _as_bytes(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(array.tobytes(), np.uint8)


def _read_leaf(file: BinaryIO, like: Any) -> Any:
    if not (_is_number(like) or _is_array(like)):
        return like
    array = np.load(file, allow_pickle=False)
    if _is_number(like):
        return array.item()
    if _is_key(like):
        return jax.random.wrap_key_data(array, impl=_implementation(like))
    if array.dtype != like.dtype:
        array = np.frombuffer(array.tobytes(), like.dtype).reshape(like.shape)
    if isinstance(like, np.generic):
        return array[()]
    if isinstance(like, np.ndarray):
        return array.copy()  # which may be written to
    if isinstance(like, jax.Array) and like.weak_type:
        return like.at[...].set(array)  # still weak: else what is computed with it changes
    return jnp.asarray(array)
