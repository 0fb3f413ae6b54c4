"""The linear CDE: its flow against a solver, its forms against each other, and as an agent."""

import functools

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lerax_fx as fx
from lerax_fx.nde import LinearCDE

KEY = jax.random.key(0)
TIME, INPUTS, SIZE = 7, 3, 4
BOX = fx.spaces.Box(-1.0, 1.0, (INPUTS,))
TIMED = fx.envs.TimedSpace(BOX, fx.spaces.Box(0.0, 3.0))
SPACES = {"plain": (BOX, fx.spaces.Discrete(2)), "timed": (TIMED, fx.spaces.Box(-1.0, 1.0, (2,)))}
EQUATION = LinearCDE(INPUTS, SIZE, key=KEY)


@functools.cache
def agent_of(name, parallel=True):
    make = functools.partial(
        fx.nde.linear_cde_actor_critic, SPACES[name], width=6, parallel=parallel
    )
    return jax.jit(lambda key: make(key=key))(KEY)


def seen(name, seed=0, time=TIME):
    return jax.vmap(SPACES[name][0].sample)(jax.random.split(jax.random.key(seed), time))


def matrices(equation):
    """The paper's form, with dense real matrices: one `A` for time and for each input, and `B`."""
    n = equation.size

    def block_diagonal(real, imaginary):
        A = np.zeros((2 * n, 2 * n))
        for k in range(n):
            A[k, k] = A[n + k, n + k] = real[k]
            A[n + k, k], A[k, n + k] = imaginary[k], -imaginary[k]
        return A

    weight = np.asarray(equation.weight, float)
    of_time = block_diagonal(-np.exp(np.asarray(equation.log_decay, float)), equation.frequency)
    of_inputs = [block_diagonal(row[:n], row[n:]) for row in weight]
    return of_time, of_inputs, np.asarray(equation.drive, float)


def solved(equation, state, dt, change, steps=2000):
    """The state after an interval, by many small steps of RK4 in numpy."""
    of_time, of_inputs, drive = matrices(equation)
    A = dt * of_time + sum(c * a for c, a in zip(change, of_inputs, strict=True))
    push = np.append(change, dt) @ drive
    h = np.concatenate([state.real, state.imag])
    for _ in range(steps):
        k1 = A @ h + push
        k2 = A @ (h + k1 / steps / 2) + push
        k3 = A @ (h + k2 / steps / 2) + push
        k4 = A @ (h + k3 / steps) + push
        h = h + (k1 + 2 * k2 + 2 * k3 + k4) / steps / 6
    return h[: equation.size] + 1j * h[equation.size :]


@pytest.mark.quick("0.0001-1.0", "1.0-0.0", "10.0-4.0")
@pytest.mark.parametrize("dt", [0.0, 1e-3, 1.0, 4.0])
@pytest.mark.parametrize("scale", [0.0, 1e-4, 1.0, 10.0])
def test_the_flow_is_the_equations(dt, scale):
    random = np.random.default_rng(0)
    state = random.normal(size=SIZE) + 1j * random.normal(size=SIZE)
    change = scale * random.normal(size=INPUTS)
    factor, shift = EQUATION.flow(jnp.asarray(dt, float), jnp.asarray(change, jnp.float32))
    expected = solved(EQUATION, state, dt, change)
    after = np.asarray(factor) * state + np.asarray(shift)
    np.testing.assert_allclose(after, expected, rtol=2e-5, atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 1.0), st.integers(0, 10_000))
def test_an_interval_is_its_parts(share, seed):
    """An observation on the straight line between two others changes nothing."""
    random = np.random.default_rng(seed)
    change = jnp.asarray(random.normal(size=INPUTS), jnp.float32)
    state = jnp.asarray(random.normal(size=SIZE) + 1j * random.normal(size=SIZE), jnp.complex64)

    def after(state, part):
        factor, shift = EQUATION.flow(jnp.asarray(2.5 * part), part * change)
        return factor * state + shift

    together = after(state, 1.0)
    np.testing.assert_allclose(after(after(state, share), 1.0 - share), together, atol=2e-5)


@pytest.mark.slow
def test_gradients_are_those_of_float64_differences():
    with jax.enable_x64(True):
        equation = jax.tree.map(lambda x: x.astype(jnp.float64), EQUATION)
        random = np.random.default_rng(1)
        dts = jnp.asarray([0.0, 1.0, 1e-3, 3.0])
        changes = jnp.asarray(random.normal(size=(4, INPUTS))) * jnp.array(
            [[0.0], [1], [1e-3], [1]]
        )
        resets = jnp.array([False, False, True, False])
        state = jnp.asarray(random.normal(size=SIZE) + 1j)

        def total(equation, parallel=True):
            states = equation.solve(state, dts, changes, resets, parallel=parallel)
            return jnp.sum(states.real**2 + 2.0 * states.imag)

        gradient = jax.grad(total)(equation)
        np.testing.assert_allclose(total(equation), total(equation, False), rtol=1e-12)
        for name in ("log_decay", "frequency", "weight", "drive"):
            direction = jnp.asarray(random.normal(size=getattr(equation, name).shape))

            def moved(by, name=name, direction=direction):
                field = getattr(equation, name) + by * direction
                return total(eqx.tree_at(lambda e: getattr(e, name), equation, field))

            slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
            np.testing.assert_allclose(
                jnp.sum(getattr(gradient, name) * direction), slope, rtol=1e-6
            )


def by_steps(agent, xs, resets):
    memory, outputs = agent.initial_memory(), []
    for t in range(len(resets)):
        memory = agent.initial_memory() if resets[t] else memory
        memory, output = STEP(agent, memory, jax.tree.map(lambda x, t=t: x[t], xs))
        outputs.append(output)
    return memory, jax.tree.map(lambda *x: jnp.stack(x), *outputs)


STEP = jax.jit(lambda agent, memory, x: agent.step(memory, x, KEY))
UNROLL = jax.jit(lambda agent, xs, resets: agent.unroll(agent.initial_memory(), xs, resets, KEY))


@pytest.mark.quick("timed")
@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=10, deadline=None)
@given(resets=st.lists(st.booleans(), min_size=TIME, max_size=TIME))
def test_step_by_step_unroll_and_sequence_are_one(name, resets):
    xs, resets = seen(name), jnp.asarray(resets)
    expected = by_steps(agent_of(name), xs, resets)
    for parallel in (True, False):
        found = UNROLL(agent_of(name, parallel), xs, resets)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.quick("True")
@pytest.mark.parametrize("parallel", [True, False])
def test_gradients_of_both_forms_agree(parallel):
    xs, resets = seen("timed", 3), jnp.arange(TIME) == 4

    def total(agent):
        _, outputs = agent.unroll(agent.initial_memory(), xs, resets, KEY)
        return jnp.sum(outputs.value**2) + jnp.sum(
            jax.vmap(lambda d: d.log_prob(jnp.ones(2)))(outputs.distribution)
        )

    gradient = jax.jit(jax.grad(total))
    agents = gradient(agent_of("timed", parallel)), gradient(agent_of("timed", not parallel))
    for a, b in zip(*map(jax.tree.leaves, agents), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
        assert jnp.any(a != 0)


def test_it_never_looks_ahead():
    """Values do not depend on later observations, nor on when they come."""
    xs, never = seen("timed"), jnp.zeros(TIME, bool)
    later = jax.tree.map(lambda x: x.at[4:].add(0.3), xs)
    values, others = (UNROLL(agent_of("timed"), x, never)[1].value for x in (xs, later))
    np.testing.assert_array_equal(values[:4], others[:4])
    assert not np.isclose(values[4:], others[4:]).any()


def test_a_reset_forgets():
    xs, resets = seen("timed"), jnp.arange(TIME) == 3
    earlier = jax.tree.map(lambda x: x.at[:3].add(0.3), xs)
    values, others = (UNROLL(agent_of("timed"), x, resets)[1].value for x in (xs, earlier))
    np.testing.assert_array_equal(values[3:], others[3:])
    assert not np.isclose(values[:3], others[:3]).any()


def test_arrays_are_one_unit_of_time_apart():
    plain = agent_of("plain")
    xs = seen("plain")
    timed = fx.data.Timed(xs, jnp.ones(TIME))
    never = jnp.zeros(TIME, bool)
    np.testing.assert_array_equal(
        UNROLL(plain, xs, never)[1].value, UNROLL(plain, timed, never)[1].value
    )
    slower = fx.data.Timed(xs, jnp.full(TIME, 2.0))
    assert not np.isclose(
        UNROLL(plain, xs, never)[1].value, UNROLL(plain, slower, never)[1].value
    ).any()


@pytest.mark.slow
def test_states_stay_bounded_over_long_trajectories():
    time = 20_000
    ends = jax.random.uniform(KEY, (time + 1, INPUTS), minval=-1.0)
    changes = jnp.diff(ends, axis=0)
    equation = eqx.tree_at(lambda e: e.weight, EQUATION, 5.0 * EQUATION.weight)
    states = jax.jit(functools.partial(LinearCDE.solve, parallel=True))(
        equation, jnp.zeros(SIZE, jnp.complex64), jnp.ones(time), changes, jnp.zeros(time, bool)
    )
    assert np.isfinite(states).all()
    # No later state is larger than the first thousand had it, but for chance.
    assert np.abs(states[1000:]).max() < 2.0 * np.abs(states[:1000]).max()


@pytest.mark.slow
def test_it_goes_through_the_stages_and_losses():
    env = fx.envs.IrregularTime(fx.envs.mask_velocities("CartPole-v1"))
    agent = fx.nde.linear_cde_actor_critic(env, key=KEY, width=4)
    fx_losses = fx.minimize(fx.ppo_loss(), optax.adam(1e-3))
    algorithm = fx.chain(
        fx.rollout(env, num_envs=4, num_steps=8),
        fx.gae(),
        fx.minibatch(fx_losses, num_epochs=1, num_minibatches=2),
    )
    trained, metrics = fx.anakin_loop(algorithm, 2)(agent, KEY)
    assert np.isfinite(metrics["minimize/loss"]).all()
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(trained))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained))
    assert all((a != b).any() for a, b in zip(*map(jax.tree.leaves, (agent, trained)), strict=True))


@pytest.mark.quick("True-bfloat16", "False-float16")
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("parallel", [True, False])
def test_half_precision_parameters_are_computed_with_in_float32(dtype, parallel):
    halved = jax.tree.map(lambda x: x.astype(dtype), agent_of("timed", parallel))
    again = jax.tree.map(lambda x: x.astype(jnp.float32), halved)
    xs, resets = seen("timed"), jnp.arange(TIME) == 3
    found, expected = UNROLL(halved, xs, resets), UNROLL(again, xs, resets)
    states = [memory[0][0].state for memory in (found, expected)]
    assert states[0].dtype == jnp.complex64
    np.testing.assert_allclose(*states, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(found[1].value, expected[1].value, rtol=3e-2, atol=3e-2)


@pytest.mark.slow
def test_half_precision_agents_train():
    env = fx.envs.IrregularTime("CartPole-v1")
    agent = fx.nde.linear_cde_actor_critic(env, key=KEY, width=4)
    agent = jax.tree.map(lambda x: x.astype(jnp.bfloat16), agent)
    learn = fx.minimize(fx.ppo_loss(), optax.sgd(1e-1))
    algorithm = fx.chain(fx.rollout(env, num_envs=2, num_steps=4), fx.gae(), learn)
    trained, metrics = fx.anakin_loop(algorithm, 1)(agent, KEY)
    assert np.isfinite(metrics["minimize/loss"]).all()
    pairs = list(zip(*map(jax.tree.leaves, (agent, trained)), strict=True))
    assert all(new.dtype == jnp.bfloat16 for _, new in pairs)
    assert any((old != new).any() for old, new in pairs)


@pytest.mark.slow
def test_images_are_seen_through_a_convolution():
    agent = fx.nde.linear_cde_actor_critic(
        (fx.spaces.Box(0.0, 1.0, (5, 4, 2)), fx.spaces.Discrete(3)), key=KEY
    )
    _, output = agent.step(agent.initial_memory(), jnp.zeros((5, 4, 2)), KEY)
    assert isinstance(output.distribution, distrax.Categorical)
    assert output.value.shape == ()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: fx.nde.linear_cde_actor_critic("CartPole-v1", key=KEY, width=0),
            fx.HyperparameterError,
            "linear_cde_actor_critic: width",
        ),
        (
            lambda: fx.nde.linear_cde_actor_critic("CartPole-v1", key=KEY, depth=0),
            fx.HyperparameterError,
            "linear_cde_actor_critic: depth",
        ),
        (
            lambda: fx.nde.linear_cde_actor_critic("CartPole-v1", key=KEY, activation="tahn"),
            fx.HyperparameterError,
            "Did you mean 'tanh'",
        ),
        (
            lambda: fx.nde.linear_cde_actor_critic(
                (fx.spaces.Dict({}), fx.spaces.Discrete(2)), key=KEY
            ),
            fx.WiringError,
            "linear_cde_actor_critic: observations",
        ),
        (lambda: LinearCDE(0, 3, key=KEY), fx.HyperparameterError, "LinearCDE: inputs"),
    ],
)
def test_bad_input_is_told_so(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [True, False])
def test_what_is_forgotten_may_be_nan(parallel):
    """Also in gradients: nothing before a reset reaches what comes after."""
    agent, resets = agent_of("plain", parallel), jnp.array([True, False, True, False])
    clean = seen("plain", time=4)
    spoilt = clean.at[1, 0].set(jnp.nan)

    def after(agent, observations):
        return agent.unroll(agent.initial_memory(), observations, resets, KEY)[1].value[2:]

    np.testing.assert_allclose(after(agent, spoilt), after(agent, clean), rtol=1e-5)
    assert np.isfinite(after(agent, spoilt)).all()
    broken = eqx.tree_at(
        lambda m: m[0].state, agent.initial_memory(), replace_fn=lambda x: x * jnp.nan
    )
    assert np.isfinite(agent.unroll(broken, clean, resets, KEY)[1].value).all()


@pytest.mark.quick("-50.0", "nan")
@pytest.mark.parametrize("dt", [-50.0, jnp.nan, jnp.inf])
def test_in_an_impossible_interval_no_time_passes(dt):
    agent = agent_of("timed")
    memory, _ = agent.step(
        agent.initial_memory(), fx.data.Timed(jnp.full(INPUTS, 0.1), jnp.zeros(())), KEY
    )
    value = agent.step(memory, fx.data.Timed(jnp.full(INPUTS, 0.2), jnp.asarray(dt)), KEY)[1].value
    assert np.isfinite(value)
    state = [
        agent.step(memory, fx.data.Timed(jnp.full(INPUTS, 0.2), jnp.asarray(t)), KEY)[0][0].state
        for t in (dt, 0.0)
    ]
    np.testing.assert_array_equal(*state)
