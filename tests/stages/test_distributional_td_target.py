"""Distributions of the return against numpy: targets, ends of episodes in any pattern
included, and the two losses.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lerax_fx as fx
from lerax_fx.agents import CategoricalReturns, QuantileReturns

KEY, OTHER_KEY = jax.random.split(jax.random.key(0))
BATCH, TIME, ACTIONS, ATOMS = 3, 5, 4, 6
LOW, HIGH = -1.5, 2.0
SPACES = (fx.spaces.Box(-1.0, 1.0, (2,)), fx.spaces.Discrete(ACTIONS))


def categorical(key, spaces=SPACES):
    return fx.categorical_q_agent(spaces, key=key, num_atoms=ATOMS, low=LOW, high=HIGH, widths=(8,))


def quantile(key, spaces=SPACES):
    return fx.quantile_q_agent(spaces, key=key, num_quantiles=ATOMS, widths=(8,))


AGENTS = {make.__name__: (make(KEY), make(OTHER_KEY)) for make in (categorical, quantile)}
KINDS = list(AGENTS)


def transitions(seed, time=TIME, ends=0.3):
    rng = np.random.default_rng(seed)
    ended = rng.random((BATCH, time)) < ends
    terminated = ended & (rng.random((BATCH, time)) < 0.5)
    fields = (
        rng.normal(size=(BATCH, time, 2)).astype(np.float32),
        rng.integers(ACTIONS, size=(BATCH, time)).astype(np.int32),
        rng.normal(size=(BATCH, time)).astype(np.float32),
        terminated,
        ended & ~terminated,
        rng.normal(size=(BATCH, time, 2)).astype(np.float32),
    )
    return fx.data.Transitions(*map(jnp.asarray, fields))


def random_targets(seed, scale=1.0):
    """With atoms inside and outside of the support, and probabilities of their own."""
    rng = np.random.default_rng(seed)
    data = transitions(seed)
    atoms = scale * rng.normal(size=(BATCH, TIME, ATOMS)).astype(np.float32)
    probabilities = rng.dirichlet(np.ones(ATOMS), (BATCH, TIME)).astype(np.float32)
    return fx.data.DistributionTargets(
        data.observation, data.action, jnp.asarray(atoms), jnp.asarray(probabilities)
    )


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


@jax.jit
def network(agent, observations):
    rows = jax.vmap(agent.network)(observations.reshape(-1, 2))
    return rows.reshape(*observations.shape[:-1], -1)


def distribution(kind, rows, action=None):
    """Atoms and probabilities of one action, by default the one of the highest mean; from
    the network's outputs for one observation.
    """
    rows = np.asarray(rows, np.float64).reshape(ACTIONS, ATOMS)
    if kind == "categorical":
        pairs = [(np.linspace(LOW, HIGH, ATOMS), softmax(row)) for row in rows]
    else:
        pairs = [(row, np.full(ATOMS, 1 / ATOMS)) for row in rows]
    best = int(np.argmax([atoms @ probabilities for atoms, probabilities in pairs]))
    return (*pairs[best if action is None else action], best)


def by_hand(kind, data, n, discount, double):
    """Of each step that n follow: one loop, one step at a time."""
    own, other = (np.asarray(network(agent, data.next_observation)) for agent in AGENTS[kind])
    starts = data.reward.shape[1] - n + 1
    atoms, probabilities = np.zeros((2, BATCH, starts, ATOMS))
    for b in range(BATCH):
        for start in range(starts):
            total, factor = 0.0, 1.0
            for t in range(start, start + n):
                total += factor * float(data.reward[b, t])
                factor *= discount
                if data.terminated[b, t]:
                    factor = 0.0
                if data.done[b, t]:
                    break
            action = distribution(kind, own[b, t])[2] if double else None
            z, p, _ = distribution(kind, other[b, t], action)
            atoms[b, start], probabilities[b, start] = total + factor * z, p
    return atoms, probabilities


@functools.cache
def compiled(n, double):
    def targets(agent, other, data, discount):
        stage = fx.distributional_td_target(
            update=fx.polyak(0.0), n=n, double=double, discount=discount
        )
        state = eqx.tree_at(lambda s: s.network, stage.init(agent, lambda: None, KEY), other)
        return stage.update(agent, state, data, KEY).out

    return jax.jit(targets)


def computed(kind, data, n=1, double=False, discount=0.99):
    return compiled(n, double)(*AGENTS[kind], data, discount)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, False), (3, False), (3, True), (5, True)]),
    st.floats(0.0, 1.0),
)
def test_targets_are_those_by_hand(kind, seed, options, discount):
    n, double = options
    data = transitions(seed)
    out = computed(kind, data, n, double, discount)
    atoms, probabilities = by_hand(kind, data, n, discount, double)
    np.testing.assert_allclose(out.atoms, atoms, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.probabilities, probabilities, rtol=1e-4, atol=1e-6)
    assert out.observation.shape == (BATCH, TIME - n + 1, 2)
    np.testing.assert_array_equal(out.action, data.action[:, : TIME - n + 1])


@pytest.mark.quick("categorical")
@pytest.mark.parametrize("kind", KINDS)
def test_a_time_limit_does_not_stop_bootstrapping(kind):
    data = transitions(0, ends=0.0)
    on = jnp.ones((BATCH, TIME), bool)
    running = computed(kind, data).atoms
    truncated = computed(kind, eqx.tree_at(lambda d: d.truncated, data, on)).atoms
    terminated = computed(kind, eqx.tree_at(lambda d: d.terminated, data, on)).atoms
    np.testing.assert_array_equal(truncated, running)
    for i in range(ATOMS):
        np.testing.assert_array_equal(terminated[..., i], data.reward)


def test_the_target_network_follows_as_told():
    stage = fx.distributional_td_target(update=fx.periodic(3))
    first, _ = AGENTS["quantile"]
    update = jax.jit(lambda agent, state, data: stage.update(agent, state, data, KEY).state)
    state, data = stage.init(first, lambda: None, KEY), transitions(2)
    copied = []
    for time in range(7):
        state = update(jax.tree.map(lambda x, time=time: x + time, first), state, data)
        copied.append(float(state.network.network.layers[0].bias[0]))
    assert copied == [0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 6.0]


def projected(atoms, probabilities):
    """Bellemare et al. 2017, algorithm 1, as it is written there."""
    spacing = (HIGH - LOW) / (ATOMS - 1)
    mass = np.zeros(ATOMS)
    for atom, probability in zip(np.asarray(atoms), np.asarray(probabilities), strict=True):
        position = (np.clip(atom, LOW, HIGH) - LOW) / spacing
        lower, upper = int(np.floor(position)), int(np.ceil(position))
        if lower == upper:
            mass[lower] += probability
        else:
            mass[lower] += probability * (upper - position)
            mass[upper] += probability * (position - lower)
    return mass


@pytest.mark.quick("0.5")
@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_the_categorical_loss_is_that_by_hand(scale):
    agent, _ = AGENTS["categorical"]
    data = random_targets(4, scale)
    losses, means = np.zeros((2, BATCH, TIME))
    outputs = network(agent, data.observation)
    for place in np.ndindex(BATCH, TIME):
        atoms, own, _ = distribution("categorical", outputs[place], int(data.action[place]))
        wanted = projected(data.atoms[place], data.probabilities[place])
        assert wanted.sum() == pytest.approx(1.0, rel=1e-5)
        losses[place], means[place] = -wanted @ np.log(own), atoms @ own
    loss, metrics = eqx.filter_jit(fx.c51_loss())(agent, data, KEY)
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["q_value"], means.mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.quick("None", "0.3")
@pytest.mark.parametrize("huber", [None, 0.3, 1.0, 2.5])
def test_the_quantile_loss_is_that_by_hand(huber):
    agent, _ = AGENTS["quantile"]
    data = random_targets(5)
    losses, means = np.zeros((2, BATCH, TIME))
    outputs = network(agent, data.observation)
    for place in np.ndindex(BATCH, TIME):
        own, _, _ = distribution("quantile", outputs[place], int(data.action[place]))
        for i, quantile in enumerate(own):
            fraction = (2 * i + 1) / (2 * ATOMS)
            for atom in np.asarray(data.atoms[place]):
                error = atom - quantile
                size = abs(error)
                if huber is not None:
                    far = huber * (size - huber / 2)
                    size = error**2 / 2 if size <= huber else far
                losses[place] += abs(fraction - (error < 0)) * size / ATOMS
        means[place] = own.mean()
    loss, metrics = eqx.filter_jit(fx.quantile_regression_loss(huber=huber))(agent, data, KEY)
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["q_value"], means.mean(), rtol=1e-5)


def learnt(agent, loss, rewards, steps=1500):
    """The returns of an action whose reward, the last, is drawn from `rewards`."""
    count = len(rewards)
    seen, action = jnp.zeros((count, 1, 2)), jnp.zeros((count, 1), int)
    reward, over = jnp.asarray(rewards)[:, None], jnp.ones((count, 1), bool)
    data = fx.data.Transitions(seen, action, reward, over, ~over, seen)
    stage = fx.chain(
        fx.distributional_td_target(),
        fx.minimize(loss, optax.adam(optax.cosine_decay_schedule(0.02, steps))),
    )

    def step(carry, _):
        agent, state = carry
        step = stage.update(agent, state, data, KEY)
        return (step.agent, step.state), None

    (agent, _), _ = jax.lax.scan(step, (agent, stage.init(agent, lambda: None, KEY)), length=steps)
    return agent.step(None, jnp.zeros(2), KEY)[1].return_distribution


REWARDS = np.array([-1.5, 0.25, 0.25, 2.0], np.float32)


@pytest.mark.slow
def test_atoms_learn_how_probable_they_are():
    returns = learnt(AGENTS["categorical"][0], fx.c51_loss(), REWARDS)
    wanted = np.mean([projected([reward], [1.0]) for reward in REWARDS], axis=0)
    np.testing.assert_allclose(returns.probabilities[0], wanted, atol=0.01)
    assert float(returns.mean[0]) == pytest.approx(REWARDS.mean(), abs=0.01)


@pytest.mark.slow
def test_quantiles_learn_where_they_lie():
    # A quarter of the quantiles lies at each reward: of 6, those at 1/12 and 11/12 in the
    # outer two, those at 3/12 and 9/12 anywhere between two rewards.
    returns = learnt(AGENTS["quantile"][0], fx.quantile_regression_loss(huber=1e-3), REWARDS)
    quantiles = np.asarray(returns.quantiles[0])
    np.testing.assert_allclose(quantiles[[0, 2, 3, 5]], [-1.5, 0.25, 0.25, 2.0], atol=0.02)
    assert (np.diff(quantiles) > -0.02).all()


@pytest.mark.quick("quantile")
@pytest.mark.parametrize("kind", KINDS)
def test_its_policy_is_the_action_of_the_highest_mean(kind):
    agent, _ = AGENTS[kind]
    observation = jnp.array([0.3, -0.2])
    memory, output = agent.step(agent.initial_memory(), observation, KEY)
    policy, value = output.distribution, output.value
    atoms, probabilities, best = distribution(kind, network(agent, observation))
    assert memory is None
    assert int(policy.mode()) == best
    assert float(value) == pytest.approx(atoms @ probabilities, rel=1e-5)
    assert output.q_values.shape == (ACTIONS,)
    _, outputs = agent.unroll(None, observation[None], jnp.zeros(1, bool), KEY)
    np.testing.assert_allclose(outputs.value, value[None], rtol=1e-5)
    assert outputs.q_values.shape == (1, ACTIONS)


def test_returns_know_their_atoms_and_their_mean():
    fixed = CategoricalReturns(jnp.log(jnp.array([0.5, 0.25, 0.25])), (0.0, 4.0))
    np.testing.assert_allclose(fixed.atoms, [0.0, 2.0, 4.0])
    np.testing.assert_allclose(fixed.mean, 1.5, rtol=1e-6)
    free = QuantileReturns(jnp.array([3.0, 1.0]))
    np.testing.assert_allclose(free.probabilities, [0.5, 0.5])
    np.testing.assert_allclose(free.fractions, [0.25, 0.75])
    np.testing.assert_allclose(free.mean, 2.0)


def update_of(stage, agent):
    return jax.eval_shape(
        lambda: stage.update(agent, stage.init(agent, lambda: None, KEY), transitions(0), KEY).out
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: fx.distributional_td_target(discount=1.5),
            fx.HyperparameterError,
            "distributional_td_target: discount",
        ),
        (
            lambda: fx.distributional_td_target(n=0),
            fx.HyperparameterError,
            "distributional_td_target: n",
        ),
        (
            lambda: fx.distributional_td_target(dobule=True),
            fx.HyperparameterError,
            "Did you mean 'double'",
        ),
        (
            lambda: computed("quantile", transitions(0), n=6),
            fx.WiringError,
            r"distributional_td_target: n.*fx\.replay\(\.\.\., length=6\)",
        ),
        (
            lambda: update_of(fx.distributional_td_target(), fx.q_agent(SPACES, key=KEY)),
            fx.WiringError,
            r"distributional_td_target: agent.*a QOutput, lacks "
            r"return_distribution.*fx\.categorical_q_agent",
        ),
        (
            lambda: fx.c51_loss()(AGENTS["quantile"][0], random_targets(0), KEY),
            fx.WiringError,
            r"c51_loss: agent.*got one that gives QuantileReturns.*fx\.quantile_regression_loss",
        ),
        (
            lambda: fx.quantile_regression_loss()(AGENTS["categorical"][0], random_targets(0), KEY),
            fx.WiringError,
            r"quantile_regression_loss: agent.*got one that gives CategoricalReturns.*fx\.c51_loss",
        ),
        (
            lambda: fx.quantile_regression_loss(huber=0.0),
            fx.HyperparameterError,
            "quantile_regression_loss: huber",
        ),
        (
            lambda: fx.chain(
                fx.td_target(), fx.minimize(fx.quantile_regression_loss(), optax.sgd(0.1))
            ),
            fx.WiringError,
            r"wanted DistributionTargets, got Targets.*fx\.distributional_td_target",
        ),
        (
            lambda: fx.categorical_q_agent("Pendulum-v1", key=KEY),
            fx.WiringError,
            "categorical_q_agent: actions",
        ),
        (
            lambda: fx.categorical_q_agent(SPACES, key=KEY, num_atoms=1),
            fx.HyperparameterError,
            "categorical_q_agent: num_atoms",
        ),
        (
            lambda: fx.categorical_q_agent(SPACES, key=KEY, low=2.0, high=2.0),
            fx.HyperparameterError,
            "categorical_q_agent: low",
        ),
        (
            lambda: fx.quantile_q_agent(SPACES, key=KEY, num_quantiles=0),
            fx.HyperparameterError,
            "quantile_q_agent: num_quantiles",
        ),
    ],
)
def test_bad_input_is_told_so(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_each_float_costs_no_compilation():
    """What is compiled depends on the structure, see test_anakin."""

    def split(discount, huber):
        loss = fx.quantile_regression_loss(huber=huber)
        stage = fx.minimize(loss, fx.optimizer(optax.sgd, 0.1))
        return fx.partition(fx.chain(fx.distributional_td_target(discount=discount), stage))

    (some, one), (others, other) = split(0.9, 0.5), split(0.8, 2.0)
    assert one == other
    assert sum(a != b for a, b in zip(some, others, strict=True)) == 2
