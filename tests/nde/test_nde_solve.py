"""Both paths of nde_solve against each other, against diffrax, and against calculus."""

import dataclasses
import functools
import inspect

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import lerax_fx as fx
from lerax_fx.nde.diffrax_solvers import RK4
from lerax_fx.nde.solve import solve
from lerax_fx.nde.solvers import SOLVERS, explicit_tableau

KEY = jax.random.key(0)


def explicit_solvers():
    """Every explicit Runge-Kutta solver that diffrax ships, and ours."""
    found = {}
    for name, kind in vars(diffrax).items():
        if inspect.isclass(kind) and issubclass(kind, diffrax.AbstractSolver):
            if inspect.isabstract(kind) or name.startswith("Abstract"):
                continue
            if issubclass(kind, diffrax.AbstractERK | diffrax.Euler):
                found[name] = kind()
    return found | {"RK4": RK4()}


EXPLICIT = explicit_solvers()
ORDERS = {
    "Euler": 1,
    "Heun": 2,
    "Midpoint": 2,
    "Ralston": 2,
    "Bosh3": 3,
    "RK4": 4,
    "Tsit5": 5,
    "Dopri5": 5,
    "Dopri8": 8,
}
STOCHASTIC = [
    name
    for name, solver in EXPLICIT.items()
    if isinstance(solver, diffrax.AbstractItoSolver | diffrax.AbstractStratonovichSolver)
]


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


class Field(eqx.Module):
    """A small network in time and state; with channels, one column for each."""

    inward: jax.Array
    outward: jax.Array
    channels: int | None = eqx.field(static=True, default=None)

    def __call__(self, t, y):
        x = jnp.concatenate([y, jnp.sin(3 * t)[None]])
        out = jnp.tanh(x @ self.inward) @ self.outward
        return out if self.channels is None else out.reshape(len(y), self.channels)


def field(channels=None, size=3, hidden=5):
    keys = jax.random.split(jax.random.key(1))
    inward = jax.random.normal(keys[0], (size + 1, hidden))
    outward = jax.random.normal(keys[1], (hidden, size * (channels or 1)))
    return Field(inward, outward, channels)


def equation(kind):
    if kind == "ODE":
        return fx.nde.ODE(field())
    if kind == "CDE":
        return fx.nde.CDE(field(2))
    return fx.nde.SDE(field(), field(2), noise=2)


def trajectory(kind):
    state = jnp.array([0.3, -0.2, 0.5])
    dt = jnp.array([0.3, 0.0, 0.7, 0.2])
    more = {}
    if kind == "CDE":
        more["control"] = jax.random.normal(KEY, (4, 2))
    if kind == "SDE":
        more["key"] = KEY
    return state, dt, more


def results(kind, **options):
    """The states, and the gradient of a function of them with respect to everything."""
    state, dt, more = trajectory(kind)

    @jax.jit
    def both(arguments):
        return jax.value_and_grad(loss, has_aux=True)(arguments)

    def loss(arguments):
        equation, state, dt = arguments
        states = solve(equation, state, dt, t0=0.1, **more, **options).states
        weights = jnp.arange(1.0, 13).reshape(4, 3)
        return jnp.sum(jnp.sin(states) * weights), states

    return both((equation(kind), state, dt))


def assert_close(a, b, **tolerance):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


def test_the_solvers_are_those_whose_order_is_known():
    assert set(EXPLICIT) == set(ORDERS)
    assert set(STOCHASTIC) == {"Euler", "Heun", "Midpoint", "Ralston"}


@pytest.mark.quick("Heun-ODE")
@pytest.mark.parametrize("kind", ["ODE", "CDE", "SDE"])
@pytest.mark.parametrize("name", EXPLICIT)
def test_both_paths_give_the_same_numbers(name, kind, double):
    if kind == "SDE" and name not in STOCHASTIC:
        pytest.skip("not a solver for SDEs")
    solver = EXPLICIT[name]
    fast = results(kind, solver=solver, steps=3)
    general = results(kind, solver=solver, steps=3, adjoint=diffrax.RecursiveCheckpointAdjoint())
    assert_close(fast, general, rtol=1e-9, atol=1e-11)


@pytest.mark.quick("Heun")
@pytest.mark.parametrize("name", ["Euler", "Heun", "Dopri8"])
def test_the_fast_path_is_diffrax_called_by_hand(name, double):
    # With time as it is, where ours runs through each interval from 0 to 1.
    solver, steps = EXPLICIT[name], 4
    state, (t0, dt), f = jnp.array([0.3, -0.2, 0.5]), (0.1, 0.8), field()

    def by_hand(terms):
        solution = diffrax.diffeqsolve(
            terms, solver, t0, t0 + dt, dt / steps, state, max_steps=steps + 1
        )
        return solution.ys[0]

    ode = solve(f, state, dt, t0=t0, solver=solver, steps=steps).final
    wanted = by_hand(diffrax.ODETerm(lambda t, y, args: f(t, y)))
    np.testing.assert_allclose(ode, wanted, rtol=1e-10)
    g, moved = field(2), jnp.array([0.4, -1.0])
    control = diffrax.LinearInterpolation(
        jnp.array([t0, t0 + dt]), jnp.stack([jnp.zeros(2), moved])
    )
    wanted = by_hand(diffrax.ControlTerm(lambda t, y, args: g(t, y), control))
    got = solve(fx.nde.CDE(g), state, dt, t0=t0, control=moved, solver=solver, steps=steps).final
    np.testing.assert_allclose(got, wanted, rtol=1e-10)


def spiral(t, y):
    return jnp.stack([-2 * y[1] * (1 + 0.3 * jnp.cos(3 * t)), 2 * y[0]])


@functools.cache
def spirals_end():
    with jax.enable_x64(True):
        start = np.array([0.7, 0.2])
        how = {"rtol": 1e-13, "atol": 1e-14, "method": "DOP853"}
        return scipy.integrate.solve_ivp(spiral_in_numpy, (0, 2), start, **how).y[:, -1]


def spiral_in_numpy(t, y):
    return np.array([-2 * y[1] * (1 + 0.3 * np.cos(3 * t)), 2 * y[0]])


@pytest.mark.quick("Bosh3", "RK4")
@pytest.mark.parametrize("name", EXPLICIT)
def test_observed_order_of_convergence(name, double):
    def error(steps):
        start = jnp.array([0.7, 0.2])
        got = jax.jit(lambda: solve(spiral, start, 2.0, solver=EXPLICIT[name], steps=steps).final)
        return np.linalg.norm(got() - spirals_end())

    steps = {5: 100, 8: 10}.get(ORDERS[name], 50)
    coarse, fine = error(steps), error(2 * steps)
    assert fine > 1e-14  # else rounding is what is seen
    observed = np.log2(coarse / fine)
    # Tsit5 is made so that its error of fifth order is small: those of sixth add to it.
    assert ORDERS[name] - 0.3 < observed < ORDERS[name] + 0.7


@pytest.mark.quick("CDE-recompute")
@pytest.mark.parametrize("adjoint", ["store", "recompute"])
@pytest.mark.parametrize("kind", ["ODE", "CDE", "SDE"])
def test_gradients_match_finite_differences(kind, adjoint, double):
    state, dt, more = trajectory(kind)
    # Central differences want room below a dt of 0, and the root of an SDE's dt is steep there.
    dt = jnp.where(dt == 0, 0.1, dt)

    def loss(arguments):
        equation, state, dt = arguments
        solution = solve(equation, state, dt, **more, solver="heun", steps=2, adjoint=adjoint)
        return jnp.sum(jnp.sin(solution.states))

    jax.test_util.check_grads(
        loss, ((equation(kind), state, dt),), order=1, modes=["rev"], eps=1e-6, rtol=1e-6
    )


def test_recompute_is_store(double):
    options = {"solver": "rk4", "steps": 2}
    stored = results("ODE", adjoint="store", **options)
    assert_close(stored, results("ODE", adjoint="recompute", **options), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dt", [0.5, jnp.array([0.5, 0.2])], ids=["interval", "trajectory"])
@pytest.mark.parametrize("kind", ["function", "eqx.nn.MLP"])
def test_recompute_takes_fields_that_hold_functions(kind, dt):
    network = eqx.nn.MLP(2, 2, 4, 1, activation=jnp.tanh, key=KEY)
    plain = (
        fx.nde.ODE(lambda t, y: -y),
        fx.nde.SDE(lambda t, y: -y, lambda t, y: jnp.eye(2), noise=2),
    )
    learnt = (
        fx.nde.ODE(Unclocked(network)),
        fx.nde.SDE(Unclocked(network), lambda t, y: jnp.eye(2), 2),
    )
    equations = plain if kind == "function" else learnt

    def gradients(adjoint):
        def loss(given):
            equations, y = given
            ends = [solve(e, y, dt, key=KEY, adjoint=adjoint).final for e in equations]
            return jnp.sum(jnp.stack(ends) ** 2)

        return jax.tree.leaves(eqx.filter_grad(loss)((equations, jnp.array([0.3, -1.0]))))

    stored, recomputed = gradients("store"), gradients("recompute")
    assert any(jnp.any(x != 0) for x in stored)
    assert_close(recomputed, stored, rtol=1e-5, atol=1e-6)


class Unclocked(eqx.Module):
    """A network of the state alone."""

    network: eqx.nn.MLP

    def __call__(self, t, y):
        return self.network(y)


def residual_bytes(adjoint):
    """What the backward pass of 100 intervals keeps, besides the arguments."""
    f, dt = field(size=3, hidden=64), jnp.full(100, 0.1)

    def run(f):
        return solve(f, jnp.zeros(3), dt, solver="rk4", adjoint=adjoint).final

    _, pull = jax.vjp(run, f)
    return sum(leaf.nbytes for leaf in jax.tree.leaves(pull) if isinstance(leaf, jax.Array))


@pytest.mark.slow
def test_recompute_keeps_less():
    # 4 stages of 64 hidden numbers each, against a state of 3.
    assert residual_bytes("store") > 100 * 4 * 64 * 4
    assert residual_bytes("recompute") < residual_bytes("store") / 10


ADAPTIVE = {"controller": diffrax.PIDController(rtol=1e-9, atol=1e-11)}
WAYS = {
    "tsit5": {"solver": "tsit5", **ADAPTIVE},
    "direct": {
        "solver": "dopri5",
        **ADAPTIVE,
        "adjoint": diffrax.DirectAdjoint(),
        "max_steps": 256,
    },
    "kvaerno5": {"solver": diffrax.Kvaerno5(), **ADAPTIVE},
    "backsolve": {"solver": "tsit5", **ADAPTIVE, "adjoint": diffrax.BacksolveAdjoint()},
    "recompute": {"solver": "tsit5", **ADAPTIVE, "adjoint": "recompute"},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "way"), [*(("ODE", way) for way in WAYS), ("CDE", "tsit5"), ("CDE", "backsolve")]
)
def test_any_solver_controller_and_adjoint(kind, way, double):
    wanted = results(kind, solver="dopri8", steps=16)
    assert_close(results(kind, **WAYS[way]), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_stochastic_runge_kutta_method_goes_through_diffrax(double):
    # Additive noise, which SRA1 wants; the mean over many paths is that of the drift.
    equation = fx.nde.SDE(lambda t, y: -y, lambda t, y: 0.1 * jnp.eye(2), noise=2)

    @jax.jit
    @jax.vmap
    def finals(key):
        dt = jnp.full(2, 0.5)
        return solve(equation, jnp.ones(2), dt, key=key, solver=diffrax.SRA1(), steps=8).final

    ends = np.asarray(finals(jax.random.split(KEY, 500)))
    deviation = 0.1 * np.sqrt((1 - np.exp(-2.0)) / 2)
    np.testing.assert_allclose(ends.mean(0), np.exp(-1.0), atol=4 * deviation / np.sqrt(500))
    np.testing.assert_allclose(ends.std(0), deviation, rtol=0.15)


@pytest.mark.quick("heun-0.5")
@pytest.mark.parametrize(("name", "drift"), [("euler", 0.0), ("heun", 0.5)])
def test_the_sense_in_which_an_sde_is_solved(name, drift, double):
    # dy = y dW has the mean 1 in Ito's sense, exp(t / 2) in Stratonovich's.
    equation = fx.nde.SDE(lambda t, y: 0 * y, lambda t, y: 0.5 * y[:, None], noise=1)

    @jax.jit
    @jax.vmap
    def finals(key):
        return solve(equation, jnp.ones(1), 1.0, key=key, solver=name, steps=32).final

    ends = np.asarray(finals(jax.random.split(KEY, 20_000)))
    wanted, deviation = np.exp(0.25 * drift), ends.std() / np.sqrt(20_000)
    assert ends.mean() == pytest.approx(wanted, abs=4 * deviation)


def test_each_interval_and_step_has_its_own_noise():
    equation = fx.nde.SDE(lambda t, y: 0 * y, lambda t, y: jnp.ones((1, 1)), noise=1)
    states = solve(equation, jnp.zeros(1), jnp.full(2000, 0.25), key=KEY, steps=2).states
    moved = np.diff(np.asarray(states)[:, 0])
    assert moved.std() == pytest.approx(0.5, rel=0.08)
    assert np.corrcoef(moved[:-1], moved[1:])[0, 1] == pytest.approx(0, abs=0.08)


def test_resets_begin_anew():
    state, initial = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.1, 0.2, 0.3])
    dt = jnp.array([0.3, 0.4, 0.5, 0.6, 0.2])
    resets = jnp.array([False, False, True, False, True])
    f = field()
    got = solve(f, state, dt, t0=7.0, resets=resets, initial=initial)
    first = solve(f, state, dt[:2], t0=7.0).states
    second = solve(f, initial, dt[2:4]).states
    third = solve(f, initial, dt[4:]).states
    np.testing.assert_allclose(got.states, jnp.concatenate([first, second, third]), rtol=1e-6)
    np.testing.assert_array_equal(got.final, got.states[-1])

    @jax.grad
    def of_state(state):
        states = solve(f, state, dt, t0=7.0, resets=resets, initial=initial).states
        return jnp.sum(states[2:])

    np.testing.assert_array_equal(of_state(state), 0)


def test_states_may_be_trees():
    def f(t, y):
        return {"x": y["v"], "v": -y["x"]}

    state = {"x": jnp.ones(2), "v": jnp.zeros(2)}
    for options in ({}, {"adjoint": diffrax.DirectAdjoint()}):
        got = solve(f, state, jnp.full(3, 0.5), solver="rk4", steps=8, **options)
        times = 0.5 * np.arange(1, 4)
        np.testing.assert_allclose(got.states["x"][:, 0], np.cos(times), atol=1e-5)
        np.testing.assert_allclose(got.states["v"][:, 1], -np.sin(times), atol=1e-5)


def test_one_interval_is_a_trajectory_of_one():
    state, dt, more = trajectory("CDE")
    control = more["control"]
    one = solve(equation("CDE"), state, dt[0], control=control[0])
    many = solve(equation("CDE"), state, dt[:1], control=control[:1])
    np.testing.assert_allclose(one.final, many.final, rtol=1e-6)
    np.testing.assert_array_equal(one.states, one.final)
    assert one.failed.shape == ()


@pytest.mark.quick("options0-ODE")
@pytest.mark.parametrize("kind", ["ODE", "SDE"])
@pytest.mark.parametrize("options", [{}, {"adjoint": diffrax.RecursiveCheckpointAdjoint()}])
def test_an_interval_of_length_0_changes_nothing(kind, options):
    state, _, more = trajectory(kind)

    @jax.jit
    def final(arguments):
        equation, state, dt = arguments
        return solve(equation, state, dt, **more, **options).final

    arguments = equation(kind), state, jnp.zeros(())
    np.testing.assert_array_equal(final(arguments), state)
    gradients = jax.jit(jax.grad(lambda a: jnp.sum(final(a))))(arguments)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradients))
    np.testing.assert_array_equal(gradients[1], 1)


class Exploding(eqx.Module):
    rate: jax.Array

    def __call__(self, t, y):
        return jnp.exp(self.rate * y)


EXPLODES = jnp.array([100.0, 0.1]), jnp.array([1.0, 1.0])


@pytest.mark.quick("fast")
@pytest.mark.parametrize("path", ["fast", "recompute", "general", "adaptive"])
def test_hold_keeps_the_state_and_counts(path):
    options = {
        "fast": {},
        "recompute": {"adjoint": "recompute"},
        "general": {"adjoint": diffrax.RecursiveCheckpointAdjoint()},
        "adaptive": {"solver": "tsit5", **ADAPTIVE, "max_steps": 16},
    }[path]
    dt = jnp.ones(3)

    @jax.jit
    @jax.vmap
    def solution(state):
        return solve(Exploding(jnp.ones(())), state, dt, **options)

    got = solution(jnp.array([[100.0], [-3.0]]))
    np.testing.assert_array_equal(got.states[0], 100.0)
    assert bool(got.failed[0].all())
    assert not bool(got.failed[1, 0])

    @jax.jit
    @jax.grad
    def gradient(arguments):
        field, state = arguments
        return jnp.sum(solve(field, state, dt, **options).states)

    rate, state = gradient((Exploding(jnp.ones(())), jnp.array([100.0])))
    assert jnp.isfinite(rate.rate)
    np.testing.assert_array_equal(state, 3.0)  # held three times


def test_a_held_trajectory_leaves_the_others_their_gradients():
    dt = jnp.full(3, 0.1)

    @jax.jit
    @jax.grad
    def gradient(states):
        each = jax.vmap(lambda y: solve(Exploding(jnp.ones(())), y, dt).final)
        return jnp.sum(each(states))

    both = gradient(jnp.array([[100.0], [-3.0]]))
    np.testing.assert_allclose(both[1:], gradient(jnp.array([[-3.0]])), rtol=1e-6)


def test_raise_and_propagate():
    f = Exploding(jnp.ones(()))
    propagated = jax.jit(lambda y: solve(f, y, 1.0, on_failure="propagate").final)
    assert jnp.isnan(propagated(jnp.array([100.0])))
    assert jnp.isfinite(propagated(jnp.array([-3.0])))
    raising = jax.jit(lambda y: solve(f, y, 1.0, on_failure="raise").final)
    assert jnp.isfinite(raising(jnp.array([-3.0])))
    with pytest.raises(Exception, match="nde_solve: wanted a finite state"):
        jax.block_until_ready(raising(jnp.array([100.0])))


@pytest.mark.parametrize("dt", [-0.5, float("nan"), [0.1, -1.0]])
def test_a_bad_dt_is_an_error_where_it_is_known_and_a_failure_where_not(dt):
    with pytest.raises(
        fx.HyperparameterError, match="nde_solve: dt: wanted finite lengths of at least 0"
    ):
        solve(field(), jnp.zeros(3), dt)
    state = jnp.array([0.3, -0.2, 0.5])

    @jax.jit
    def solution(dt):
        return solve(field(), state, jnp.atleast_1d(dt))

    got = solution(jnp.asarray(dt))
    wanted_failures = ~(np.atleast_1d(dt) >= 0)
    np.testing.assert_array_equal(got.failed, wanted_failures)
    assert bool(jnp.all(jnp.isfinite(got.states)))
    if len(wanted_failures) == 1:
        np.testing.assert_array_equal(got.final, state)
    gradient = jax.jit(jax.grad(lambda dt: jnp.sum(solution(dt).states)))(jnp.asarray(dt))
    assert bool(jnp.all(jnp.isfinite(gradient)))
    run = jax.jit(lambda dt: solve(field(), state, dt, on_failure="raise").final)
    with pytest.raises(Exception, match="dt below 0 or NaN"):
        jax.block_until_ready(run(jnp.asarray(dt)))


def test_nan_in_a_control_is_a_failure():
    state, dt, more = trajectory("CDE")
    control = more["control"].at[1, 0].set(jnp.nan)
    got = solve(equation("CDE"), state, dt, control=control)
    np.testing.assert_array_equal(got.failed, [False, True, False, False])
    np.testing.assert_array_equal(got.states[1], got.states[0])
    assert bool(jnp.all(jnp.isfinite(got.states)))


@pytest.mark.quick("SDE")
@pytest.mark.parametrize("kind", ["ODE", "CDE", "SDE"])
def test_as_a_stage(kind):
    state, dt, more = trajectory(kind)
    states = jnp.stack([state, -state])
    data = fx.nde.Intervals(
        states, jnp.stack([dt, dt]), resets=jnp.zeros((2, 4), bool), initial=states
    )
    if kind == "CDE":
        data = dataclasses.replace(data, control=jnp.stack([more["control"]] * 2))
    agent = {"model": equation(kind)}
    stage = fx.nde.nde_solve(equation=lambda agent: agent["model"], solver="ralston", steps=2)
    assert stage.name == "nde_solve"
    algorithm = fx.chain(stage)
    step = algorithm.update(agent, algorithm.init(agent, lambda: None, KEY), data, KEY)
    assert step.out.states.shape == (2, 4, 3)
    assert step.metrics["nde_solve/failures"] == 0
    if kind != "SDE":
        control = more.get("control")
        wanted = solve(equation(kind), state, dt, control=control, solver="ralston", steps=2)
        np.testing.assert_allclose(step.out.states[0], wanted.states, rtol=1e-5)
    else:
        assert not np.allclose(step.out.states[0], step.out.states[1])


def test_a_stage_counts_failures():
    data = fx.nde.Intervals(jnp.array([[100.0], [-3.0]]), jnp.full((2, 2), 0.1))
    agent = Exploding(jnp.ones(()))
    stage = fx.nde.nde_solve()
    assert (
        stage.update(agent, stage.init(agent, lambda: None, KEY), data, KEY).metrics["failures"]
        == 2
    )


def test_tolerances_of_a_stage_are_hyperparameters():
    stage = fx.nde.nde_solve(solver="tsit5", controller=diffrax.PIDController(rtol=1e-3, atol=1e-4))
    numbers, _ = fx.partition(stage)
    assert 1e-3 in numbers
    assert 1e-4 in numbers


def test_the_fast_path_is_taken_only_where_it_may():
    assert explicit_tableau(diffrax.Kvaerno3()) is None
    assert explicit_tableau(diffrax.Sil3()) is None
    jaxpr = str(
        jax.make_jaxpr(lambda y: solve(field(), y, 1.0, solver="dopri8").final)(jnp.ones(3))
    )
    assert "while" not in jaxpr
    # Dopri5's and Tsit5's last stage is for the estimate of the error.
    assert len(explicit_tableau(diffrax.Tsit5()).c) == 6
    assert len(explicit_tableau(diffrax.Dopri5()).c) == 6
    assert len(explicit_tableau(diffrax.Bosh3()).c) == 3


@pytest.mark.quick("euler", "rk4")
@pytest.mark.parametrize("name", [*SOLVERS, "rk4"])
def test_a_solver_may_be_given_by_its_name(name):
    kind = EXPLICIT["RK4" if name == "rk4" else SOLVERS[name]]
    by_name, given = (solve(field(), jnp.ones(3), 0.5, solver=s).final for s in (name, kind))
    np.testing.assert_array_equal(by_name, given)


def test_errors_name_the_argument():
    y, f = jnp.zeros(3), field()

    def refused(match):
        return pytest.raises(fx.HyperparameterError, match=match)

    with refused("nde_solve: solver: wanted one of 'euler'.*got 'hune'"):
        solve(f, y, 1.0, solver="hune")
    with refused("nde_solve: steps: wanted an int of at least 1, got 0"):
        fx.nde.nde_solve(steps=0)
    with refused("nde_solve: controller: wanted a diffrax.AbstractStepSizeController"):
        fx.nde.nde_solve(controller="pid")
    with refused("nde_solve: adjoint: wanted 'store', 'recompute' or a diffrax.AbstractAdjoint"):
        fx.nde.nde_solve(adjoint="backsolve")
    with refused("nde_solve: on_failure: wanted one of 'hold', 'raise', 'propagate'"):
        fx.nde.nde_solve(on_failure="skip")
    with refused("nde_solve: control: wanted for a CDE"):
        solve(equation("CDE"), y, 1.0)
    with refused("nde_solve: control: wanted None"):
        solve(f, y, 1.0, control=jnp.zeros(2))
    with refused("nde_solve: key: wanted a random key"):
        solve(equation("SDE"), y, 1.0)
    with refused("nde_solve: solver: wanted for an SDE, a solver that converges"):
        solve(equation("SDE"), y, 1.0, key=KEY, solver="tsit5")
    two = jnp.ones(2)
    resets = jnp.ones(2, bool)
    with refused("nde_solve: initial"):
        solve(f, y, two, resets=resets)
    with refused(r"nde_solve: initial: wanted a state like `state`, .* of float32\[3\]"):
        solve(f, y, two, resets=resets, initial={"y": y})
    with refused(r"nde_solve: resets: wanted shape \(2\).*got shape \(3,\)"):
        solve(f, y, two, resets=jnp.ones(3, bool), initial=y)
    with refused(r"nde_solve: control: wanted shape \(2, channels\).*got shape \(3, 2\)"):
        solve(equation("CDE"), y, two, control=jnp.zeros((3, 2)))
    with refused(r"nde_solve: control: wanted shape \(channels\).*got shape \(\)"):
        solve(equation("CDE"), y, 1.0, control=jnp.zeros(()))
    for state in (jnp.zeros(3, int), (y, jnp.zeros(3, jnp.float16)), ()):
        with refused("nde_solve: state: wanted arrays of floats, all of one precision"):
            solve(lambda t, y: y, state, 1.0)


@pytest.mark.quick("0.1-float16", "dt2-float64")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32, jnp.float64, jnp.complex64])
@pytest.mark.parametrize("dt", [0.1, np.full(3, 0.1), jnp.full(3, 0.1, jnp.float32)])
def test_a_state_of_any_precision_keeps_it(dtype, dt):
    with jax.enable_x64(True):
        state = jnp.ones(2, dtype)
        solution = solve(lambda t, y: -y, state, dt)
        assert solution.final.dtype == dtype
        np.testing.assert_allclose(solution.states[-1], np.exp(-0.1 * np.size(dt)), rtol=2e-3)
        if np.ndim(dt):
            data = fx.nde.Intervals(state, jnp.asarray(dt))
            step = fx.nde.nde_solve(equation=lambda _: lambda t, y: -y).update(None, (), data, KEY)
            np.testing.assert_array_equal(step.out.final, solution.final)
    with pytest.raises(fx.WiringError, match=r"nde_solve\(...\)"):
        fx.chain(fx.nde.nde_solve)


@pytest.mark.parametrize(
    ("equation", "options", "message"),
    [
        (lambda t, y: y[0], {}, r"ODE: field: wanted what the state has: shapes \[\(2,\)\]"),
        (
            fx.nde.CDE(lambda t, y: jnp.ones(3)),
            {"control": jnp.ones((2, 3))},
            "CDE: field: wanted.*one axis more.*jnp.diag",
        ),
        (
            fx.nde.SDE(lambda t, y: 0 * y, lambda t, y: jnp.ones(2), 2),
            {"key": KEY},
            "SDE: diffusion: wanted.*one axis more.*jnp.diag",
        ),
    ],
)
def test_a_field_that_would_be_broadcast_is_refused(equation, options, message):
    with pytest.raises(fx.WiringError, match=message):
        solve(equation, jnp.ones(2), jnp.ones(2), **options)


def test_options_that_would_do_nothing_are_refused():
    with pytest.raises(fx.HyperparameterError, match="resets, initial: wanted neither"):
        solve(lambda t, y: -y, jnp.ones(2), 1.0, initial=jnp.zeros(2))
    with pytest.raises(fx.HyperparameterError, match="SDE: noise"):
        fx.nde.SDE(lambda t, y: y, lambda t, y: y, 0)
    with pytest.raises(fx.HyperparameterError, match="dt: wanted finite lengths"):
        solve(lambda t, y: -y, jnp.ones(2), jnp.array([1.0, jnp.inf]))


def test_an_infinite_interval_does_not_reach_past_a_reset():
    def failed(dt):
        resets = jnp.array([False, False, True, False])
        field = lambda t, y: y * jnp.cos(t)  # noqa: E731 -- one line
        return solve(field, jnp.ones(2), dt, resets=resets, initial=jnp.ones(2)).failed

    found = jax.jit(failed)(jnp.array([1.0, jnp.inf, 1.0, 1.0]))
    np.testing.assert_array_equal(found, [False, True, False, False])
