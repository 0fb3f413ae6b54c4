"""The laws of the algebra, bit for bit."""

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import lerax_fx as fx

KEY = jax.random.key(0)
AGENT = {"weight": jnp.arange(3.0)}
DATA = jnp.array([0.5, -1.0, 2.0])


class Noise(fx.Transform[jax.Array, jax.Array]):
    """Adds noise to the data and to its own state, and measures it."""

    scale: float

    def init(self, agent, key):
        return jax.random.normal(key)

    def update(self, agent, state, data, key):
        noise = self.scale * jax.random.normal(key, data.shape)
        metrics = {"noise/mean": noise.mean()}
        return fx.Step(agent, state + noise.sum(), data + noise, metrics)


class Learn(fx.Transform[jax.Array, jax.Array]):
    """Moves the agent by the data, deterministically; counts."""

    rate: float

    @property
    def draws(self):
        return 0

    def init(self, agent, key):
        return jnp.zeros((), jnp.int32)

    def update(self, agent, state, data, key):
        agent = {"weight": agent["weight"] + self.rate * data}
        return fx.Step(agent, state + 1, data * 1.5, {})


@fx.transform
def scale(data: jax.Array, *, by: fx.Real = 2.0) -> jax.Array:
    return data * by


class Foresight(fx.Transform[jax.Array, jax.Array]):
    """Adds noise that it draws before the data comes."""

    def init(self, agent, key):
        return ()

    def draw_ahead(self, key):
        return {"noise": jax.random.normal(key)}

    def update(self, agent, state, data, key):
        ahead = key if isinstance(key, dict) else self.draw_ahead(key)
        return fx.Step(agent, state, data + ahead["noise"], {})


leaves = st.one_of(
    st.just(Foresight),
    st.builds(lambda x: lambda: Noise(x), st.floats(0.1, 2.0)),
    st.builds(lambda x: lambda: Learn(x), st.floats(0.1, 2.0)),
    st.builds(lambda x: lambda: scale(by=x), st.floats(0.1, 2.0)),
    st.just(fx.identity),
)


def runs(algorithm, updates=2):
    """Everything that an algorithm does in some updates: leaves of states, outputs, metrics."""
    agent, state = AGENT, algorithm.init(AGENT, KEY)
    seen = [jax.tree.leaves(state)]
    for key in jax.random.split(jax.random.key(1), updates):
        step = algorithm.update(agent, state, DATA, key)
        agent, state = step.agent, step.state
        seen += [jax.tree.leaves(x) for x in (agent, state, step.out)]
        seen.append([np.asarray(step.metrics[name]) for name in sorted(step.metrics)])
        seen.append(sorted(step.metrics))
    return seen


def assert_same(first, second):
    for a, b in zip(runs(first), runs(second), strict=True):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@settings(max_examples=25, deadline=None)
@given(st.tuples(leaves, leaves, leaves))
def test_grouping_changes_nothing(stages):
    a, b, c = (make() for make in stages)
    flat = fx.chain(a, b, c)
    assert_same(fx.chain(a, fx.chain(b, c)), flat)
    assert_same(fx.chain(fx.chain(a, b), c), flat)


@settings(max_examples=15, deadline=None)
@given(leaves)
def test_identity_is_neutral(make):
    stage = make()
    assert_same(fx.chain(stage, fx.identity()), stage)
    assert_same(fx.chain(fx.identity(), stage), stage)
    assert_same(fx.chain(stage), stage)


@settings(max_examples=15, deadline=None)
@given(leaves)
def test_once_and_always_are_neutral(make):
    stage = make()
    assert_same(fx.repeat(1, stage), stage)


@settings(max_examples=10, deadline=None)
@given(st.tuples(leaves, leaves, leaves))
def test_a_named_group_draws_the_same_numbers(stages):
    a, b, c = (make() for make in stages)
    flat, grouped = runs(fx.chain(a, b, c)), runs(fx.chain(a, body=fx.chain(b, c)))
    for i, (x, y) in enumerate(zip(flat, grouped, strict=True)):
        if i < 4:  # all but the names of metrics, which stand under the group's
            for p, q in zip(x, y, strict=True):
                np.testing.assert_array_equal(p, q)


def test_a_deterministic_stage_leaves_the_others_their_numbers():
    with_it = fx.chain(Noise(1.0), scale(by=1.0), Noise(1.0))
    without = fx.chain(Noise(1.0), Noise(1.0))
    np.testing.assert_array_equal(runs(with_it)[3], runs(without)[3])


class Spy(fx.Transform[jax.Array, jax.Array]):
    """Gives the key it was handed as a metric."""

    def init(self, agent, key):
        return ()

    def update(self, agent, state, data, key):
        return fx.Step(agent, state, data, {"key": jax.random.key_data(key)})


def test_every_key_is_handed_out_once():
    algorithm = fx.chain(Spy(), fx.chain(Spy(), Noise(1.0)), body=fx.chain(Spy(), Spy()))
    state = algorithm.init(AGENT, KEY)
    seen = []
    for key in jax.random.split(KEY, 3):
        step = algorithm.update(AGENT, state, DATA, key)
        seen += [tuple(np.asarray(v)) for k, v in step.metrics.items() if k.endswith("/key")]
    assert len(seen) == 12
    assert len(set(seen)) == 12


def test_names():
    algorithm = fx.chain(
        scale(), scale(), fx.chain(Noise(1.0)), other=scale(), body=fx.chain(Spy())
    )
    assert algorithm.names == ("scale", "scale_2", "noise", "other", "body")
    assert algorithm["scale_2"] is algorithm[1]
    assert isinstance(algorithm["body/spy"], Spy)
    step = algorithm.update(AGENT, algorithm.init(AGENT, KEY), DATA, KEY)
    assert sorted(step.metrics) == ["body/spy/key", "noise/mean"]


def test_a_renamed_stage_files_its_metrics_under_the_name():
    algorithm = fx.chain(jitter=Noise(1.0))
    step = algorithm.update(AGENT, algorithm.init(AGENT, KEY), DATA, KEY)
    assert sorted(step.metrics) == ["jitter/mean"]


def test_every_runs_when_it_is_due():
    stage = fx.every(3, Learn(1.0))
    agent, state = AGENT, stage.init(AGENT, KEY)
    moved = []
    for _ in range(7):
        step = stage.update(agent, state, DATA, KEY)
        moved.append(not np.array_equal(agent["weight"], step.agent["weight"]))
        np.testing.assert_array_equal(step.out, DATA)
        agent, state = step.agent, step.state
    assert moved == [True, False, False, True, False, False, True]


def test_repeat_goes_on_with_agent_and_state():
    step = fx.repeat(4, Learn(0.5)).update(AGENT, jnp.zeros((), jnp.int32), DATA, KEY)
    assert int(step.state) == 4
    np.testing.assert_allclose(step.agent["weight"], AGENT["weight"] + 4 * 0.5 * DATA)


@pytest.mark.parametrize("memory", [False, True])
def test_minibatches_hold_each_row_once_in_an_epoch(memory):
    class Agent(eqx.Module):
        weight: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(1))

        def initial_memory(self):
            return jnp.zeros(1) if memory else None

    seen = []

    class Look(fx.Transform[jax.Array, jax.Array]):
        def init(self, agent, key):
            return ()

        def update(self, agent, state, data, key):
            jax.debug.callback(lambda x: seen.append(np.asarray(x)), data, ordered=True)
            return fx.Step(agent, state, data, {})

    data = jnp.arange(6.0 * 4).reshape(6, 4)
    stage = fx.minibatch(Look(), num_epochs=2, num_minibatches=3)
    step = stage.update(Agent(), (), data, KEY)
    jax.effects_barrier()
    assert [x.shape for x in seen] == [(2, 4) if memory else (8, 1)] * 6
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    for epoch in (first, second):
        np.testing.assert_array_equal(np.sort(epoch.ravel()), np.arange(24.0))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(step.out, data)
