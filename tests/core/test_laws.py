"""The laws of the algebra, bit for bit."""

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings

import lerax_fx as fx
from lerax_fx._core.schedules import has_schedules, with_values

KEY = jax.random.key(0)
AGENT = {"weight": jnp.arange(3.0)}
DATA = jnp.array([0.5, -1.0, 2.0])


class Noise(fx.Transform[jax.Array, jax.Array]):
    """Adds noise to the data and to its own state, and measures it."""

    scale: float

    def init(self, agent, data, key):
        return jax.random.normal(key)

    def update(self, agent, state, data, key):
        noise = self.scale * jax.random.normal(key, data.shape)
        metrics = {"mean": noise.mean()}
        return fx.Step(agent, state + noise.sum(), data + noise, metrics)


class Learn(fx.Transform[jax.Array, jax.Array]):
    """Moves the agent by the data, deterministically; counts."""

    rate: float

    def init(self, agent, data, key):
        return jnp.zeros((), jnp.int32)

    def update(self, agent, state, data, key):
        agent = {"weight": agent["weight"] + self.rate * data}
        return fx.Step(agent, state + 1, data * 1.5, {})


@fx.transform
def scale(data: jax.Array, *, by: fx.typing.Real = 2.0) -> jax.Array:
    return data * by


class DrawsAhead(fx.Transform[jax.Array, jax.Array]):
    """Adds noise that it draws before the data comes."""

    def init(self, agent, data, key):
        return ()

    def draw_ahead(self, key):
        return {"noise": jax.random.normal(key)}

    def update(self, agent, state, data, key):
        ahead = key if isinstance(key, dict) else self.draw_ahead(key)
        return fx.Step(agent, state, data + ahead["noise"], {})


class Twice(fx.Wrapper[jax.Array, jax.Array]):
    """A user's own wrapper."""

    def update(self, agent, state, data, key):
        keys = jax.random.split(key)
        step = self.inner.update(agent, state, data, keys[0])
        return self.inner.update(step.agent, step.state, step.out, keys[1])


def decay(count):
    return 1.0 / (1.0 + count)


leaves = st.one_of(
    st.just(lambda: scale(by=fx.schedule(optax.linear_schedule, 1.0, 0.5, 3))),
    st.just(lambda: Learn(fx.schedule(lambda: decay))),
    st.builds(lambda x: lambda: Twice(fx.chain(twice=Noise(x))), st.floats(0.1, 2.0)),
    st.builds(
        lambda x: lambda: fx.every(2, fx.repeat(2, fx.chain(again=Noise(x)))), st.floats(0.1, 2.0)
    ),
    st.just(DrawsAhead),
    st.builds(lambda x: lambda: Noise(x), st.floats(0.1, 2.0)),
    st.builds(lambda x: lambda: Learn(x), st.floats(0.1, 2.0)),
    st.builds(lambda x: lambda: scale(by=x), st.floats(0.1, 2.0)),
    st.just(fx.identity),
)


def runs(algorithm, updates=2):
    """Everything that an algorithm does in some updates: leaves of states, outputs, metrics."""
    agent, state = AGENT, algorithm.init(AGENT, lambda: DATA, KEY)
    seen = [jax.tree.leaves(state), list(state)]
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


@settings(max_examples=4, deadline=None)
@given(st.tuples(leaves, leaves, leaves))
def test_grouping_changes_nothing(stages):
    a, b, c = (make() for make in stages)
    flat = fx.chain(a, b, last=c)
    assert_same(fx.chain(a, fx.chain(b, last=c)), flat)
    assert_same(fx.chain(fx.chain(a, b), last=c), flat)


@settings(max_examples=6, deadline=None)
@given(leaves)
def test_identity_is_neutral(make):
    stage = make()
    alone = runs(fx.chain(stage))
    for algorithm in (fx.chain(stage, fx.identity()), fx.chain(fx.identity(), stage)):
        for i, (a, b) in enumerate(zip(runs(algorithm), alone, strict=True)):
            if i != 1:  # all but the states' names, of which there is one more
                for x, y in zip(a, b, strict=True):
                    np.testing.assert_array_equal(x, y)


@settings(max_examples=6, deadline=None)
@given(leaves)
def test_once_and_always_are_neutral(make):
    stage = make()
    assert_same(fx.repeat(1, stage), fx.chain(stage))


def test_states_are_found_by_name():
    algorithm = fx.chain(Noise(1.0), learn=fx.every(2, fx.chain(Learn(1.0), deep=fx.chain(Spy()))))
    state = algorithm.init(AGENT, lambda: DATA, KEY)
    assert list(state) == ["noise", "learn"]
    assert state["learn/learn"].dtype == jnp.int32
    assert state["learn/deep/spy"] == ()
    assert isinstance(algorithm["learn/deep/spy"], Spy)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    assert paths == ["['noise']", "['learn'].updates", "['learn'].inner['learn']"]
    with pytest.raises(fx.WiringError, match="state: wanted one of 'noise', 'learn', got 'nose'"):
        state["nose"]


def test_alike_stages_that_draw_in_init_draw_apart():
    """Two networks of random network distillation must not be the same one."""
    algorithm = fx.chain(Noise(1.0), Noise(1.0), body=fx.chain(Noise(1.0)))
    state = algorithm.init(AGENT, lambda: DATA, KEY)
    drawn = {float(leaf) for leaf in jax.tree.leaves(state)}
    assert len(drawn) == 3


def test_a_schedule_counts_the_updates_of_its_stage():
    algorithm = fx.chain(
        scale(by=fx.schedule(optax.linear_schedule, 1.0, 0.0, 4)),
        fx.every(2, scale(by=decay)),
        late=fx.every(2, Learn(fx.schedule(lambda: decay))),
    )
    state = algorithm.init(AGENT, lambda: DATA, KEY)
    outs, agents, agent = [], [], AGENT
    for _ in range(4):
        step = algorithm.update(agent, state, DATA, KEY)
        agent, state = step.agent, step.state
        outs.append(step.out[0] / DATA[0])
        agents.append(float(agent["weight"][0]))
    np.testing.assert_allclose(outs, [1.0, 0.75, 0.5, 0.25])
    # Learn moves the weight by rate * data: at its first update with 1, at its second with 1/2.
    np.testing.assert_allclose(agents, [0.5, 0.5, 0.5 + 0.5 * 0.5 * 0.5, 0.625])


class Holds(fx.Transform[jax.Array, jax.Array]):
    """Keeps the last data."""

    def init(self, agent, data, key):
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), data())

    def update(self, agent, state, data, key):
        return fx.Step(agent, data, state)


def test_a_state_is_made_for_the_shapes_that_come():
    algorithm = fx.chain(widen(), fx.repeat(2, Holds()), fx.every(2, Holds()))
    state = algorithm.init(AGENT, lambda: DATA, KEY)
    assert {leaf.shape for leaf in jax.tree.leaves(state)} == {(3, 2), ()}


@fx.transform
def widen(data: jax.Array) -> jax.Array:
    return jnp.stack([data, data], axis=1)


def test_the_shapes_of_data_are_worked_out_only_if_asked_for():
    traced = []

    class Traced(Noise):
        def update(self, agent, state, data, key):
            traced.append(1)
            return super().update(agent, state, data, key)

    fx.chain(Traced(1.0), Noise(1.0)).init(AGENT, lambda: DATA, KEY)
    assert not traced
    fx.chain(Traced(1.0), Holds(), Holds()).init(AGENT, lambda: DATA, KEY)
    assert len(traced) == 1


def test_functions_are_lifted_by_their_parameters():
    @fx.transform
    def of_data(data: jax.Array) -> jax.Array:
        return data + 1

    @fx.transform
    def of_agent(agent, data: jax.Array, *, by: fx.typing.Real = 1.0) -> jax.Array:
        return data + by * agent["weight"]

    @fx.transform
    def of_key(agent, data: jax.Array, key, *, by: fx.typing.Real = 1.0) -> jax.Array:
        return data + by * jax.random.normal(key)

    algorithm = fx.chain(of_data(), of_agent(by=2.0), of_key(), again=of_key())
    assert [stage.types for stage in algorithm.stages] == [(jax.Array, jax.Array)] * 4
    state = algorithm.init(AGENT, lambda: DATA, KEY)
    out = algorithm.update(AGENT, state, DATA, KEY).out
    drawn = np.asarray(out - (DATA + 1 + 2 * AGENT["weight"]))
    np.testing.assert_allclose(drawn, drawn[0], atol=1e-6)
    with pytest.raises(fx.WiringError, match="four: wanted a function f\\(data\\)"):

        @fx.transform
        def four(agent, data, key, by):
            return data


def test_a_deterministic_stage_leaves_the_others_their_numbers():
    with_it = fx.chain(Noise(1.0), scale(by=1.0), Noise(1.0))
    without = fx.chain(Noise(1.0), Noise(1.0))
    np.testing.assert_array_equal(runs(with_it)[4], runs(without)[4])


class Spy(fx.Transform[jax.Array, jax.Array]):
    """Gives the key it was handed as a metric."""

    def init(self, agent, data, key):
        return ()

    def update(self, agent, state, data, key):
        words = jax.random.key_data(key)
        return fx.Step(agent, state, data, {"high": words[0], "low": words[1]})


def test_every_key_is_handed_out_once():
    algorithm = fx.chain(Spy(), fx.chain(Spy(), Noise(1.0)), body=fx.chain(Spy(), Spy()))
    state = algorithm.init(AGENT, lambda: DATA, KEY)
    seen = []
    for key in jax.random.split(KEY, 3):
        metrics = algorithm.update(AGENT, state, DATA, key).metrics
        highs = [name for name in metrics if name.endswith("/high")]
        seen += [(int(metrics[n]), int(metrics[n.replace("high", "low")])) for n in highs]
    assert len(seen) == 12
    assert len(set(seen)) == 12


def test_names():
    algorithm = fx.chain(
        scale(), scale(), fx.chain(Noise(1.0)), other=scale(), body=fx.chain(Spy())
    )
    assert algorithm.names == ("scale", "scale_2", "noise", "other", "body")
    assert algorithm["scale_2"] is algorithm[1]
    assert isinstance(algorithm["body/spy"], Spy)
    step = algorithm.update(AGENT, algorithm.init(AGENT, lambda: DATA, KEY), DATA, KEY)
    assert sorted(step.metrics) == ["body/spy/high", "body/spy/low", "noise/mean"]


def test_a_renamed_stage_files_its_metrics_under_the_name():
    algorithm = fx.chain(jitter=Noise(1.0))
    step = algorithm.update(AGENT, algorithm.init(AGENT, lambda: DATA, KEY), DATA, KEY)
    assert sorted(step.metrics) == ["jitter/mean"]


def test_every_runs_when_it_is_due():
    stage = fx.every(3, Learn(1.0))
    agent, state = AGENT, stage.init(AGENT, lambda: DATA, KEY)
    moved = []
    for _ in range(7):
        step = stage.update(agent, state, DATA, KEY)
        moved.append(not np.array_equal(agent["weight"], step.agent["weight"]))
        np.testing.assert_array_equal(step.out, DATA)
        agent, state = step.agent, step.state
    assert moved == [True, False, False, True, False, False, True]


def test_repeat_goes_on_with_agent_and_state():
    stage = fx.repeat(4, Learn(0.5))
    step = stage.update(AGENT, stage.init(AGENT, lambda: DATA, KEY), DATA, KEY)
    assert int(step.state["learn"]) == 4
    np.testing.assert_allclose(step.agent["weight"], AGENT["weight"] + 4 * 0.5 * DATA)


@pytest.mark.parametrize("memory", [False, True])
def test_minibatches_hold_each_row_once_in_an_epoch(memory):
    class Agent(eqx.Module):
        weight: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(1))

        def initial_memory(self):
            return jnp.zeros(1) if memory else None

    seen = []

    class Look(fx.Transform[jax.Array, jax.Array]):
        def init(self, agent, data, key):
            return ()

        def update(self, agent, state, data, key):
            jax.debug.callback(lambda x: seen.append(np.asarray(x)), data, ordered=True)
            return fx.Step(agent, state, data, {})

    data = jnp.arange(6.0 * 4).reshape(6, 4)
    stage = fx.minibatch(Look(), num_epochs=2, num_minibatches=3)
    step = stage.update(Agent(), stage.init(Agent(), lambda: data, KEY), data, KEY)
    jax.effects_barrier()
    assert [x.shape for x in seen] == [(2, 4) if memory else (8, 1)] * 6
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    for epoch in (first, second):
        np.testing.assert_array_equal(np.sort(epoch.ravel()), np.arange(24.0))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(step.out, data)


def test_a_schedule_is_taken_wherever_a_float_is():
    """Also with type checks on, which is how the tests run."""
    half = fx.schedule(optax.linear_schedule, 0.5, 0.25, 4)
    stages = [
        fx.gae(discount=half, lambda_=half),
        fx.td_target(discount=half, update=fx.polyak(half)),
        fx.td3_target(noise=half, clip=half),
        fx.minimize(fx.ppo_loss(clip=half, entropy_weight=half), optax.sgd(0.1)),
        fx.minimize(half * fx.value_loss(clip=half), fx.optimizer(optax.adam, half)),
        fx.replay(
            fx.identity(), capacity=4, batch_size=1, sampling=fx.prioritized(importance=half)
        ),
    ]
    counted = [has_schedules(stage) for stage in stages]
    assert counted == [True] * 5 + [False]  # prioritized counts stored steps itself
    values = with_values(stages[3], jnp.asarray(2)).loss
    assert [float(term.hyperparameters["clip"]) for term in values.terms[:2]] == [0.375, 0.375]
    assert float(values.weights[2]) == -0.375
