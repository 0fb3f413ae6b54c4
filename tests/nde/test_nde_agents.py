"""Actor-critics whose memory is a differential equation; what they share with all others is
tested in tests/agents.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx
from lerax_fx.nde import split_time
from lerax_fx.nde.equations import GRUField

KEY = jax.random.key(0)
SPACES = fx.spaces.Box(-1.0, 1.0, (3,)), fx.spaces.Discrete(2)
MAKERS = {"ode": fx.nde.ode_actor_critic, "cde": fx.nde.cde_actor_critic}


def make(name, **options):
    # Observations here are of the size of 1, and so is what they move by.
    options = {"gain": 1.0, **options} if name == "cde" else options
    return MAKERS[name](SPACES, key=KEY, width=6, hidden=5, **options)


def timed(dt, key=KEY):
    dt = jnp.asarray(dt)
    return fx.data.Timed(jax.random.normal(key, (*dt.shape, 3)), dt)


def values(agent, observations, resets=None):
    time = len(jax.tree.leaves(observations)[0])
    resets = jnp.zeros(time, bool) if resets is None else resets
    run = jax.jit(
        lambda agent: agent.unroll(agent.initial_memory(), observations, resets, KEY)[1].value
    )
    return np.asarray(run(agent))


@pytest.mark.quick("cde")
@pytest.mark.parametrize("name", MAKERS)
def test_arrays_come_one_apart(name):
    observations = timed([0.0, 1.0, 1.0, 1.0])
    # The first interval of an episode is that of zero memory: the CDE has none yet.
    agent = make(name)
    plain = values(agent, observations.value)
    first = eqx.tree_at(lambda o: o.dt, observations, jnp.ones(4))
    np.testing.assert_allclose(values(agent, first), plain, rtol=1e-6)


@pytest.mark.quick("ode")
@pytest.mark.parametrize("name", MAKERS)
def test_time_matters_and_the_future_does_not(name):
    agent, observations = make(name), timed([0.0, 0.5, 1.5, 0.7])
    before = values(agent, observations)
    longer = eqx.tree_at(lambda o: o.dt, observations, observations.dt.at[2].set(3.0))
    after = values(agent, longer)
    np.testing.assert_array_equal(before[:2], after[:2])
    assert np.all(np.abs(before[2:] - after[2:]) > 1e-5)
    other = eqx.tree_at(lambda o: o.value, observations, observations.value.at[2].add(1.0))
    after = values(agent, other)
    np.testing.assert_array_equal(before[:2], after[:2])
    assert np.all(np.abs(before[2:] - after[2:]) > 1e-5)


def test_the_ode_flows_and_jumps():
    agent = make("ode", solver="rk4", steps=4)
    observations = timed([0.4, 1.3])
    h = np.zeros(6)
    for x, dt in zip(observations.value, observations.dt, strict=True):
        # The flow by many steps of Euler's method, in numpy.
        first, second = agent.vector_field.network.layers
        for _ in range(2000):
            hidden = np.tanh(h @ np.asarray(first.weight, float) + np.asarray(first.bias))
            h = h + float(dt) / 2000 * np.tanh(
                hidden @ np.asarray(second.weight, float) + np.asarray(second.bias)
            )
        drive = agent.gru.drive(agent.torso(agent.encoding(x)))
        h = np.asarray(agent.gru.advance(jnp.asarray(h, jnp.float32), drive), float)
    wanted = agent.critic(jnp.asarray(h, jnp.float32))[0]
    assert values(agent, observations)[-1] == pytest.approx(float(wanted), abs=1e-4)


@pytest.mark.parametrize("shared", [True, False])
def test_the_cde_is_that_of_diffrax_over_the_whole_path(shared):
    agent = make("cde", channels=2, solver="rk4", steps=8, shared=shared)
    network = agent.networks[-1]
    observations = timed([0.0, 0.4, 1.3, 0.8])
    got = values(agent, observations)[-1]
    features = jax.vmap(lambda x: network.torso(network.encoding(x)))(observations.value)
    times = jnp.cumsum(observations.dt)
    path = diffrax.LinearInterpolation(times, jnp.concatenate([times[:, None], features], axis=1))
    term = diffrax.ControlTerm(lambda t, y, args: network.field(t, y), path).to_ode()
    controller = diffrax.PIDController(rtol=1e-6, atol=1e-7, jump_ts=times)
    state = diffrax.diffeqsolve(
        term,
        diffrax.Tsit5(),
        times[0],
        times[-1],
        None,
        network.start(features[0]),
        stepsize_controller=controller,
    ).ys[0]
    assert got == pytest.approx(float(agent.critic(state)[0]), abs=1e-4)


def test_policy_and_value_have_a_hidden_state_each_unless_shared():
    def slopes(shared, output):
        agent = make("cde", shared=shared)
        observations, resets = timed([0.0, 0.4]), jnp.zeros(2, bool)

        def last(agent):
            return output(agent.unroll(agent.initial_memory(), observations, resets, KEY)[1])

        leaves = [jax.tree.leaves(network.field) for network in jax.grad(last)(agent).networks]
        return [any(np.any(np.asarray(leaf)) for leaf in field) for field in leaves]

    def value(output):
        return output.value[-1]

    def entropy(output):
        return output.distribution.entropy()[-1]

    assert slopes(True, value) == slopes(True, entropy) == [True]
    assert slopes(False, value) == [False, True]
    assert slopes(False, entropy) == [True, False]


def test_the_gru_ode_follows_its_equation_and_stays_bounded():
    field = fx.nde.ode_actor_critic(SPACES, key=KEY, width=4, vector_field="gru").vector_field
    assert isinstance(field, GRUField)
    h = np.array([0.3, -0.9, 0.1, 0.7])

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    gates = sigmoid(h @ np.asarray(field.weight) + np.asarray(field.bias))
    new = np.tanh((gates[:4] * h) @ np.asarray(field.inward) + np.asarray(field.inward_bias))
    wanted = (1 - gates[4:]) * (new - h)
    np.testing.assert_allclose(field(0.0, jnp.asarray(h, jnp.float32)), wanted, rtol=1e-4)
    end = fx.nde.nde_solve.function(field, jnp.asarray(h), 1000.0, solver="rk4", steps=1000).final
    assert bool(jnp.all(jnp.abs(end) <= 1))


@pytest.mark.quick("nan-ode")
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_a_bad_dt_is_held_and_leaves_no_nan(name, bad):
    agent, observations = make(name), timed([0.0, bad, 1.0])

    @jax.jit
    @jax.value_and_grad
    def loss(agent):
        never = jnp.zeros(3, bool)
        _, outputs = agent.unroll(agent.initial_memory(), observations, never, KEY)
        return jnp.sum(outputs.value**2)

    for leaf in jax.tree.leaves(loss(agent)):
        assert bool(jnp.all(jnp.isfinite(leaf)))


@pytest.mark.quick("recompute-ode")
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    "options",
    [
        {"solver": "rk4", "steps": 3, "adjoint": "recompute"},
        {"solver": "tsit5", "controller": diffrax.PIDController(rtol=1e-5, atol=1e-6)},
    ],
    ids=["recompute", "adaptive"],
)
def test_any_way_of_solving_gives_about_the_same(name, options):
    observations = timed([0.0, 0.4, 1.3, 0.8])
    wanted = values(make(name, solver="rk4", steps=8), observations)
    agent = make(name, **options)
    np.testing.assert_allclose(values(agent, observations), wanted, atol=2e-3)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(agent))
    for solved in getattr(agent, "networks", [agent]):
        hash(solved.method)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_through_a_whole_algorithm(name):
    env = fx.make("CartPole-v1")
    agent = MAKERS[name](env, key=KEY, width=6, hidden=5)
    learn = fx.minimize(fx.ppo_loss(), optax.adam(1e-3))
    algorithm = fx.chain(
        fx.rollout(env, num_envs=4, num_steps=8),
        fx.gae(),
        fx.minibatch(learn, num_epochs=1, num_minibatches=2),
    )
    trained, metrics = fx.anakin_loop(algorithm, 2)(agent, KEY)
    (loss,) = (metric for name, metric in metrics.items() if name.endswith("/loss"))
    assert bool(jnp.all(jnp.isfinite(loss)))
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), agent, trained)
    assert all(jax.tree.leaves(moved))


def test_split_time():
    value, dt = split_time(fx.data.Timed(jnp.ones(2), jnp.asarray(0.5)))
    np.testing.assert_array_equal(value, 1)
    assert dt == 0.5
    value, dt = split_time(jnp.ones(2))
    np.testing.assert_array_equal(value, 1)
    assert dt == 1.0


def test_errors_name_the_argument():
    with pytest.raises(
        fx.HyperparameterError, match="ode_actor_critic: vector_field: wanted 'mlp' or"
    ):
        make("ode", vector_field="lstm")
    with pytest.raises(fx.HyperparameterError, match="ode_actor_critic: solver"):
        make("ode", solver="rk5")
    with pytest.raises(fx.HyperparameterError, match="cde_actor_critic: channels"):
        make("cde", channels=0)
    with pytest.raises(fx.HyperparameterError, match="cde_actor_critic: gain"):
        make("cde", gain=0.0)
    with pytest.raises(fx.HyperparameterError, match="cde_actor_critic: steps"):
        make("cde", steps=0)
    with pytest.raises(fx.WiringError, match="at least one number"):
        fx.nde.ode_actor_critic((fx.spaces.Tuple(()), SPACES[1]), key=KEY)
