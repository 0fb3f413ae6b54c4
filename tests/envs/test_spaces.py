import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from lerax_fx import HyperparameterError, WiringError
from lerax_fx.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

INF = float("inf")
BIG = float(np.finfo(np.float32).max)
KEY = jax.random.key(0)

bounds = st.tuples(st.floats(-100, 100, width=32), st.floats(0, 100, width=32)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)
ends = st.one_of(bounds, st.sampled_from([(-INF, INF), (-BIG, BIG), (0.0, INF), (-INF, 2.0)]))
boxes = st.builds(
    lambda pair, shape: Box(*pair, shape), ends, st.sampled_from([(), (1,), (3,), (2, 2)])
)
whole = st.sampled_from(
    [
        Box(0, 255, (2,), np.uint8),
        Box(-3, 4, (), np.int32),
        Box(0, 1, (2,), bool),
        Box(-INF, INF, (2,), np.int32),
        Box(0, 10, (2,), np.int64),
        Box(-INF, INF, (2,), np.int64),
        Box(0, 10**10, (), np.int64),
        Box(0, 9, (2,), np.uint32),
        Box(np.uint8(3), np.uint8(200), (2,), np.int32),
        Box(0, INF, (2,), np.uint32),
        Box(-1, 2, (2,), np.float64),
    ]
)
simple = st.one_of(
    boxes,
    whole,
    st.builds(Discrete, st.integers(1, 5)),
    st.builds(MultiBinary, st.integers(1, 3)),
    st.builds(MultiDiscrete, st.lists(st.integers(1, 4), min_size=1, max_size=3)),
)
spaces = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(Tuple, st.lists(inner, max_size=2)),
        st.builds(Dict, st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
    ),
    max_leaves=3,
)


# beartype looks at random entries of containers, also while Hypothesis builds them.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@settings(max_examples=15, deadline=None)
@given(spaces, st.integers(0, 2**31 - 1))
def test_a_sample_is_contained_and_flattens_to_the_flat_size(space, seed):
    x = space.sample(jax.random.key(seed))
    assert bool(space.contains(x))
    flat = space.flatten(x)
    assert flat.shape == (space.flat_size,)
    assert bool(jnp.all(jnp.isfinite(flat)))


@pytest.mark.parametrize("space", [Box(-1.0, 1.0, (2,)), Discrete(3), MultiBinary(2)])
def test_shape_and_dtype_are_those_of_a_sample(space):
    x = space.sample(KEY)
    assert (x.shape, x.dtype) == (space.shape, space.dtype)


def test_contains_is_false_beyond_the_bounds_and_for_other_shapes_and_kinds():
    box = Box(-1.0, 1.0, (2,))
    assert bool(box.contains(np.asarray([1.0, -1.0], np.float32)))
    assert not bool(box.contains(jnp.asarray([1.5, 0.0])))
    assert not bool(box.contains(jnp.zeros((3,))))
    assert not bool(box.contains(jnp.zeros((2,), int)))
    assert not bool(box.contains("text"))
    assert not bool(Discrete(3).contains(3))
    assert bool(Discrete(3).contains(2))
    assert not bool(Discrete(3).contains(1.0))
    assert not bool(MultiDiscrete([2, 3]).contains(jnp.asarray([2, 0])))
    assert not bool(Tuple([Discrete(2)]).contains([jnp.zeros((), int)]))
    assert not bool(Dict({"a": Discrete(2)}).contains({"b": jnp.zeros((), int)}))


def test_contains_can_be_traced():
    inside = jax.jit(jax.vmap(Discrete(3).contains))(jnp.arange(5))
    np.testing.assert_array_equal(inside, [True, True, True, False, False])


def test_discrete_parts_flatten_to_one_hot():
    space = Dict({"b": MultiDiscrete([2, 3]), "a": Box(-INF, INF, (2,))})
    x = {"a": jnp.asarray([0.5, 2.0]), "b": jnp.asarray([1, 0])}
    np.testing.assert_array_equal(space.flatten(x), [0.5, 2.0, 0, 1, 1, 0, 0])


def test_samples_of_an_unbounded_box_are_finite_and_of_both_signs():
    x = Box(-BIG, INF, (100,)).sample(KEY)
    assert bool(jnp.all(jnp.isfinite(x)))
    assert float(x.min()) < 0 < float(x.max())


def test_the_dtype_is_the_one_that_jax_gives():
    wide = Box(-INF, INF, (2,), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert wide.sample(KEY).dtype == wide.dtype
        assert Box(-1, 1, (2,), np.float64).sample(KEY).dtype == np.float32
    assert bool(wide.contains(jnp.asarray([-5, 2**31 - 1])))
    assert bool(Box(0, INF, (), np.uint32).contains(jnp.asarray(4_000_000_000, jnp.uint32)))


def test_bounds_of_integers_are_integers_within():
    box = Box(0.5, np.asarray([2.5, 3.0], np.float32), dtype=np.int32)
    np.testing.assert_array_equal(box.low, [1, 1])
    np.testing.assert_array_equal(box.high, [2, 3])
    assert not bool(box.contains(jnp.asarray([0, 2])))
    unbounded = Box(np.float32(-INF), np.float32(INF), (1,), np.int32)
    assert (int(unbounded.low[0]), int(unbounded.high[0])) == (-(2**31), 2**31 - 1)


def test_equal_spaces_share_a_program():
    traces = []

    @jax.jit
    def size(space):
        traces.append(space)
        return space.high.sum()

    assert float(size(Box(-1.0, 1.0, (4,)))) == 4
    assert float(size(Box(-1.0, 2.0, (4,)))) == 8
    assert len(traces) == 1


def test_bounds_may_be_traced():
    x = jax.jit(lambda high: Box(-high, high, (3,)).sample(KEY))(2.0)
    assert bool(Box(-2.0, 2.0, (3,)).contains(x))


def test_repr():
    space = Tuple([Discrete(2), Dict({"x": Box(0, 1, (4,))}), MultiDiscrete([2, 3])])
    assert repr(space) == "Tuple(Discrete(2), Dict(x: Box(4,)), MultiDiscrete([2, 3]))"


@pytest.mark.parametrize(
    ("build", "place"),
    [
        (lambda: Discrete(0), "Discrete: n"),
        (lambda: Discrete(2.0), "Discrete: n"),
        (lambda: MultiDiscrete([2, -1]), r"MultiDiscrete: nvec\[1\]"),
        (lambda: MultiDiscrete([]), "MultiDiscrete: length"),
        (lambda: MultiBinary(True), "MultiBinary: n"),
        (lambda: Box(1.0, -1.0, (2,)), "Box: low, high"),
        (lambda: Box(np.zeros(3), 1.0, (2,)), "Box: low"),
        (lambda: Box(np.nan, 1, (2,), np.int32), "Box: low.*NaN"),
        (lambda: Box(0, np.nan), "Box: high.*NaN"),
        (lambda: Box(0, 1, (2,), complex), "Box: dtype"),
        (lambda: Box(0, 1, (2,), "U3"), "Box: dtype"),
        (lambda: Box(0, 1, 3), "Box: shape"),
        (lambda: Box(0, 1, (2.5,)), r"Box: shape\[0\]"),
        (lambda: MultiDiscrete(3), "MultiDiscrete: nvec"),
        (lambda: Tuple([Discrete(2), 3]), r"Tuple: spaces\[1\]"),
        (lambda: Dict({"a": 3}), r"Dict: spaces\['a'\]"),
    ],
)
def test_construction_errors_name_the_argument(build, place):
    # A runtime type checker, where one is on, is the first to see an argument's type.
    with pytest.raises((HyperparameterError, TypeCheckError), match=f"{place}|Type-check"):
        build()


def test_a_composite_space_has_no_shape():
    with pytest.raises(WiringError, match="FlattenObservation"):
        _ = Tuple([Discrete(2)]).shape
