"""Saving and loading: every kind of leaf, runs that go on, and files that do not fit."""

import json
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import lerax_fx as fx
from recipes import dqn, ppo

KEY = jax.random.key(0)


def tree(seed=0, size=3):
    random = np.random.default_rng(seed)
    numbers = random.normal(size=size)
    return {
        "array": jnp.asarray(numbers, jnp.float32),
        "half": jnp.asarray(numbers, jnp.bfloat16),
        "weak": jnp.asarray(float(numbers[0])),
        "empty": jnp.zeros((0, 2), jnp.int8),
        "numpy": numbers,
        "numpy half": numbers.astype(ml_dtypes.bfloat16),
        "numpy scalar": np.float32(numbers[0]),
        "keys": jax.random.split(jax.random.key(seed), 2),
        "rbg": jax.random.key(seed, impl="rbg"),
        "raw key": jax.random.PRNGKey(seed),
        "numbers": (float(numbers[0]), seed, seed > 0, complex(0, seed)),
        "rest": (None, jnp.tanh, "text"),
    }


def assert_same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True):
        assert type(a) is type(b)
        if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            assert a.dtype == b.dtype
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        if eqx.is_array_like(a):
            assert getattr(a, "weak_type", None) == getattr(b, "weak_type", None)
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


def test_every_kind_of_leaf_comes_back(tmp_path):
    path = tmp_path / "tree.fx"
    fx.save(path, tree(1))
    assert_same(fx.load(path, tree(0)), tree(1))
    fx.save(str(path), tree(2))
    assert_same(fx.load(str(path), tree(0)), tree(2))
    assert os.listdir(tmp_path) == ["tree.fx"]


def test_shapes_are_enough_to_load(tmp_path):
    path, arrays = tmp_path / "tree.fx", {"key": KEY, "x": jnp.arange(3)}
    fx.save(path, arrays)
    assert_same(fx.load(path, jax.eval_shape(lambda: arrays)), arrays)


SMALL = {"total_steps": 24, "num_envs": 2}
RECIPES = {
    "ppo": (ppo, {"num_steps": 4, "num_epochs": 1, "num_minibatches": 2}),
    "dqn": (dqn, {"capacity": 16, "batch_size": 4, "warmup": 4}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_run_goes_on_bit_for_bit(name, tmp_path):
    recipe, sizes = RECIPES[name]
    agent, train = recipe.make("CartPole-v1", key=KEY, **SMALL, **sizes)
    state, _ = train.step(train.init(agent, KEY), 2)
    fx.save(tmp_path / "run.fx", state)
    other, again = recipe.make("CartPole-v1", key=jax.random.key(7), **SMALL, **sizes)
    restored = fx.load(tmp_path / "run.fx", again.init(other, jax.random.key(8)))
    assert_same(restored, state)
    assert_same(again.step(restored, 2), train.step(state, 2))


def refused(match):
    return pytest.raises(fx.SavingError, match=match)


CHANGES = {
    "shape": ({"array": jnp.zeros(4)}, r"load: \['array'\].*\(4,\), float32.*\(3,\), float32"),
    "dtype": (
        {"array": jnp.zeros(3, jnp.int32)},
        r"load: \['array'\].*\(3,\), int32.*\(3,\), float32",
    ),
    "key": ({"rbg": KEY}, r"load: \['rbg'\].*key<fry>.*key<rbg>"),
    "a key for an array": ({"array": KEY}, r"load: \['array'\]: wanted random keys.*an array"),
    "number": ({"numbers": (1, 1, True, 1j)}, r"\['numbers'\]\[0\]: wanted a Python int.*float"),
    "more": ({"more": jnp.zeros(3)}, r"load: \['more'\].*got no such leaf"),
    "fewer": ({"numpy": None}, r"load: \['numpy'\]: wanted no such leaf.*\(3,\), float64"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_differs_is_named(name, tmp_path):
    change, match = CHANGES[name]
    fx.save(tmp_path / "tree.fx", tree())
    with refused(match):
        fx.load(tmp_path / "tree.fx", tree() | change)


def test_files_that_are_missing_foreign_or_truncated_are_refused(tmp_path):
    path = tmp_path / "tree.fx"
    with refused("load: path: wanted a file that can be read.*No such file"):
        fx.load(path, tree())
    for content in (b"", b"PK\x03\x04 something else", b"\x80\x04pickle"):
        path.write_bytes(content)
        with refused("wanted a file that fx.save wrote"):
            fx.load(path, tree())
    fx.save(path, tree())
    whole = path.read_bytes()
    begins = len(b"lerax_fx PyTree 1\n")
    for length in (*range(begins, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:length])
        with refused("wanted a complete file.*truncated"):
            fx.load(path, tree())
    path.write_bytes(whole + b"more")
    with refused("wanted a complete file"):
        fx.load(path, tree())


def test_no_pickle_is_read(tmp_path):
    path, like = tmp_path / "tree.fx", {"x": jnp.zeros(3)}
    fx.save(path, like)
    first, header, _ = path.read_bytes().split(b"\n", 2)
    assert json.loads(header) == {"['x']": {"kind": "array", "shape": [3], "dtype": "float32"}}
    with open(path, "wb") as file:
        file.write(first + b"\n" + header + b"\n")
        np.save(file, np.array([print, 1, 2], object), allow_pickle=True)
        file.write(b"lerax_fx end\n")
    with refused("truncated or was changed"):
        fx.load(path, like)


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "tree.fx"
    fx.save(path, tree(1))

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with refused("save: path: wanted a file that can be written.*No space left"):
        fx.save(path, tree(2))
    assert_same(fx.load(path, tree()), tree(1))
    assert os.listdir(tmp_path) == ["tree.fx"]


def test_paths_that_cannot_be_written_and_tracers_are_refused(tmp_path):
    for path in (tmp_path / "no" / "folder.fx", tmp_path):
        with refused("save: path"):
            fx.save(path, tree())
    with refused(r"save: tree\['x'\].*tracer"):
        jax.jit(lambda x: fx.save(tmp_path / "a", {"x": x}))(jnp.zeros(3))
    assert os.listdir(tmp_path) == []
