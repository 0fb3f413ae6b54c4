"""SAC's targets, its policy and temperature losses, and what they draw, against numpy."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import lerax_fx as fx

KEY = jax.random.key(0)
BATCH, TIME = 3, 5
LOW, HIGH = np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32)
CENTER, HALF = (HIGH + LOW) / 2, (HIGH - LOW) / 2
SPACES = (fx.spaces.Box(-1.0, 1.0, (3,)), fx.spaces.Box(LOW, HIGH))
TEMPERATURE = 0.3


def made(seed, **options):
    """With an actor whose deviations differ from state to state, and are small enough that
    float32 keeps what squashing leaves of an action.
    """
    agent = fx.soft_actor_critic(
        SPACES, key=jax.random.key(seed), widths=(8,), temperature=TEMPERATURE, **options
    )
    last = agent.actor.layers[-1]
    weight = 0.2 * jax.random.normal(jax.random.key(seed), last.weight.shape)
    bias = jnp.array([0.1, -0.2, -1.5, -1.8])
    return eqx.tree_at(
        lambda a: (a.actor.layers[-1].weight, a.actor.layers[-1].bias), agent, (weight, bias)
    )


def actor(agent):
    return agent.actor


def critic(agent):
    return agent.critic


def log_temperature(agent):
    return agent.log_temperature


AGENT, OTHER = made(0), made(1)


def transitions(seed, ends=0.3):
    rng = np.random.default_rng(seed)
    ended = rng.random((BATCH, TIME)) < ends
    terminated = ended & (rng.random((BATCH, TIME)) < 0.5)
    fields = (
        rng.normal(size=(BATCH, TIME, 3)).astype(np.float32),
        rng.uniform(LOW, HIGH, size=(BATCH, TIME, 2)).astype(np.float32),
        rng.normal(size=(BATCH, TIME)).astype(np.float32),
        terminated,
        ended & ~terminated,
        rng.normal(size=(BATCH, TIME, 3)).astype(np.float32),
    )
    return fx.data.Transitions(*map(jnp.asarray, fields))


def layers(mlp, x, which=()):
    """A multilayer perceptron of relus in numpy; `which` picks one of several."""
    picked = [(np.asarray(at.weight)[which], np.asarray(at.bias)[which]) for at in mlp.layers]
    for weight, bias in picked[:-1]:
        x = np.maximum(x @ weight + bias, 0)
    return x @ picked[-1][0] + picked[-1][1]


def gaussian(agent, observation):
    """The mean and the deviation before squashing."""
    outputs = layers(agent.actor, observation)
    return outputs[..., :2], np.exp(outputs[..., 2:])


def log_prob(agent, observation, action):
    """Change of variables, from the action back to the Gaussian."""
    unit = (np.asarray(action, np.float64) - CENTER) / HALF
    mean, deviation = gaussian(agent, observation)
    density = stats.norm(mean, deviation).logpdf(np.arctanh(unit))
    return (density - np.log1p(-(unit**2)) - np.log(HALF)).sum(-1)


def least(agent, observation, action):
    x = np.concatenate([observation, (action - CENTER) / HALF], axis=-1)
    return np.minimum(*(layers(agent.critic.networks, x, i)[..., 0] for i in range(2)))


def drawn(agent, observation, keys):
    """What the policy draws; that its draws have its distribution is tested below."""

    return np.asarray(_drawn(agent, jnp.asarray(observation), keys))


@jax.jit
def _drawn(agent, observation, keys):
    def one(observation, key):
        return agent.policy(observation, key).sample(seed=key)

    return jax.vmap(jax.vmap(one))(observation, keys)


@functools.cache
def compiled(n):
    def targets(agent, other, data, key, discount):
        stage = fx.sac_target(update=fx.polyak(0.0), n=n, discount=discount)
        state = eqx.tree_at(lambda s: s.network, stage.init(agent, lambda: None, KEY), other.critic)
        return stage.update(agent, state, data, key).out

    return jax.jit(targets)


def computed(data, key=KEY, n=1, discount=0.99):
    return compiled(n)(AGENT, OTHER, data, key, discount)


def last_observations(data, n):
    """Where each sum ends, by a loop: (b, start) to the time of its last step."""
    last = np.zeros((BATCH, TIME - n + 1), int)
    for b, start in np.ndindex(last.shape):
        last[b, start] = next(
            (t for t in range(start, start + n) if data.done[b, t]), start + n - 1
        )
    return last


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 5]), st.floats(0.0, 1.0))
def test_targets_are_those_by_hand(seed, n, discount):
    data = transitions(seed)
    last = last_observations(data, n)
    after = np.take_along_axis(np.asarray(data.next_observation), last[..., None], 1)
    action = drawn(AGENT, after, jax.random.split(KEY, last.size).reshape(last.shape))
    ahead = least(OTHER, after, action) - TEMPERATURE * log_prob(AGENT, after, action)
    wanted = np.zeros(last.shape)
    for b, start in np.ndindex(last.shape):
        for t in range(start, last[b, start] + 1):
            wanted[b, start] += discount ** (t - start) * float(data.reward[b, t])
        if not data.terminated[b, last[b, start]]:
            wanted[b, start] += discount ** (last[b, start] + 1 - start) * ahead[b, start]
    out = computed(data, n=n, discount=discount)
    np.testing.assert_allclose(out.target, wanted, rtol=2e-3, atol=2e-3)


def test_a_time_limit_does_not_stop_bootstrapping():
    data, on = transitions(0, ends=0.0), jnp.ones((BATCH, TIME), bool)
    running = computed(data).target
    truncated = computed(eqx.tree_at(lambda d: d.truncated, data, on)).target
    terminated = computed(eqx.tree_at(lambda d: d.terminated, data, on)).target
    np.testing.assert_array_equal(truncated, running)
    np.testing.assert_array_equal(terminated, data.reward)


def test_each_step_and_each_key_draws_for_itself():
    data = jax.tree.map(lambda x: jnp.broadcast_to(x[:1, :1], x.shape), transitions(0, ends=0.0))
    first, second = (computed(data, key=jax.random.key(i)).target for i in range(2))
    assert len(np.unique([first, second])) == 2 * BATCH * TIME


def test_a_gradient_step_takes_its_targets_for_constants():
    data, loss = transitions(1), fx.q_critic_loss()
    step = fx.chain(fx.sac_target(), fx.minimize(loss, optax.sgd(1.0)))
    # A stage's key depends on its name alone.
    alone = fx.chain(fx.sac_target())

    @jax.jit
    def run(agent):
        moved = step.update(agent, step.init(agent, lambda: None, KEY), data, KEY).agent
        return moved, alone.update(agent, alone.init(agent, lambda: None, KEY), data, KEY).out

    moved, constant = run(AGENT)
    gradient = jax.jit(jax.grad(lambda agent: loss(agent, constant, KEY)[0]))(AGENT)
    for new, old, slope in zip(*map(jax.tree.leaves, (moved, AGENT, gradient)), strict=True):
        np.testing.assert_allclose(new, old - slope, rtol=1e-4, atol=1e-6)


def test_target_critics_follow():
    stage = fx.sac_target(update=fx.polyak(0.25))
    state = stage.init(AGENT, lambda: None, KEY)
    moved = jax.tree.map(lambda x: x + 1.0, AGENT)
    data = transitions(3)
    state = jax.jit(lambda *a: stage.update(*a, data, KEY).state)(moved, state)
    assert jax.tree.structure(state.network) == jax.tree.structure(AGENT.critic)
    for new, old in zip(jax.tree.leaves(state.network), jax.tree.leaves(AGENT.critic), strict=True):
        np.testing.assert_allclose(new, old + 0.25, rtol=1e-5)


def learnt(seed=4):
    return computed(transitions(seed))


# What a loss called with KEY draws with: its forward pass has a key of its own, each step one.
KEYS = jax.random.split(jax.random.fold_in(KEY, 0), BATCH * TIME).reshape(BATCH, TIME)


def test_the_policys_loss_is_that_by_hand():
    data = learnt()
    observation = np.asarray(data.observation)
    action = drawn(AGENT, observation, KEYS)
    wanted = TEMPERATURE * log_prob(AGENT, observation, action) - least(AGENT, observation, action)
    np.testing.assert_allclose(
        eqx.filter_jit(fx.sac_policy_loss())(AGENT, data, KEY)[0], wanted.mean(), rtol=1e-3
    )


@pytest.mark.quick("None")
@pytest.mark.parametrize("target", [None, -3.0, 1.0])
def test_the_temperatures_loss_is_that_by_hand(target):
    data = learnt()
    observation = np.asarray(data.observation)
    entropy = -log_prob(AGENT, observation, drawn(AGENT, observation, KEYS)).mean()
    wanted = (-2.0 if target is None else target) + np.log(HALF).sum()
    loss = eqx.filter_jit(fx.temperature_loss(target_entropy=target))
    loss, metrics = loss(AGENT, data, KEY)
    np.testing.assert_allclose(loss, TEMPERATURE * (entropy - wanted), rtol=1e-3)
    np.testing.assert_allclose(metrics["temperature"], TEMPERATURE, rtol=1e-5)
    np.testing.assert_allclose(metrics["policy_entropy"], entropy, rtol=1e-3)


def test_the_temperature_rises_where_there_is_too_little_entropy():
    data = learnt()

    def moved(target):
        loss = fx.temperature_loss(target_entropy=target)
        stage = fx.minimize(loss, optax.sgd(0.1), part="log_temperature")
        agent = jax.jit(
            lambda agent: stage.update(agent, stage.init(agent, lambda: None, KEY), data, KEY).agent
        )(AGENT)
        return float(agent.log_temperature - AGENT.log_temperature)

    assert moved(1.38) > 0 > moved(-10.0)


def test_the_policys_gradient_goes_through_its_actions():
    """By differences of the actor's last biases; the other parts get none."""
    data = learnt()
    observation = np.asarray(data.observation)
    gradient = jax.jit(jax.grad(lambda agent: fx.sac_policy_loss()(agent, data, KEY)[0]))(AGENT)

    def loss(bias):
        agent = eqx.tree_at(lambda a: a.actor.layers[-1].bias, AGENT, bias)
        action = drawn(agent, observation, KEYS)
        worth = least(AGENT, observation, action)
        return (TEMPERATURE * log_prob(agent, observation, action) - worth).mean()

    bias = AGENT.actor.layers[-1].bias
    for i, own in enumerate(gradient.actor.layers[-1].bias):
        slope = (loss(bias.at[i].add(1e-2)) - loss(bias.at[i].add(-1e-2))) / 2e-2
        np.testing.assert_allclose(own, slope, rtol=3e-2, atol=3e-3)
    for leaf in jax.tree.leaves((gradient.critic, gradient.log_temperature)):
        np.testing.assert_array_equal(leaf, 0.0)


def test_the_temperatures_loss_teaches_nothing_else():
    data = learnt()
    gradient = jax.jit(jax.grad(lambda agent: fx.temperature_loss()(agent, data, KEY)[0]))(AGENT)
    assert float(gradient.log_temperature) != 0.0
    for leaf in jax.tree.leaves((gradient.actor, gradient.critic)):
        np.testing.assert_array_equal(leaf, 0.0)


STAGES = {
    "critic": fx.minimize(fx.q_critic_loss(), optax.adam(0.1), part="critic"),
    "actor": fx.minimize(fx.sac_policy_loss(), optax.adam(0.1), part="actor"),
    "log_temperature": fx.minimize(fx.temperature_loss(), optax.adam(0.1), part="log_temperature"),
}


@pytest.mark.quick("actor")
@pytest.mark.parametrize("own", list(STAGES))
def test_each_optimizer_touches_only_its_own_part(own):
    stage, data = STAGES[own], learnt()
    same = []

    @jax.jit
    def update(agent):
        step = stage.update(agent, stage.init(agent, lambda: None, KEY), data, KEY)
        same.append(step.out is data)
        return step.agent

    trained = update(AGENT)
    assert same == [True]
    for part in STAGES:
        pairs = zip(*(jax.tree.leaves(getattr(a, part)) for a in (trained, AGENT)), strict=True)
        same = [np.array_equal(new, old) for new, old in pairs]
        assert not any(same) if part == own else all(same)


@pytest.mark.quick("key0")
@pytest.mark.parametrize("key", [KEY, jax.random.PRNGKey(0)])
def test_each_forward_pass_and_each_stage_has_a_key_of_its_own(key):
    seen = []

    def look(agent, data, key):
        seen.append(int(jax.random.bits(key)))
        return agent.log_temperature

    def look_again(agent, data, key):
        return look(agent, data, key)

    @fx.loss_term(look)
    def first(evaluated: jax.Array, data: fx.data.Targets) -> fx.typing.Scalar:
        return evaluated

    @fx.loss_term(look_again)
    def second(evaluated: jax.Array, data: fx.data.Targets) -> fx.typing.Scalar:
        return evaluated

    stage = fx.minimize(first() + second(), optax.sgd(0.1), part="log_temperature")
    twice = fx.chain(a=stage, b=stage)
    data = learnt()
    twice.update(AGENT, twice.init(AGENT, lambda: None, key), data, key)
    assert len(set(seen)) == len(seen) == 4


def test_it_draws_from_the_gaussian_that_its_actor_gives():
    observation = np.array([0.3, -0.2, 0.9], np.float32)
    _, output = AGENT.step(AGENT.initial_memory(), observation, KEY)
    distribution, value = output.distribution, output.value
    actions, log_probs = distribution.sample_and_log_prob(seed=KEY, sample_shape=2000)
    mean, deviation = gaussian(AGENT, observation)
    unsquashed = np.arctanh((np.asarray(actions) - CENTER) / HALF)
    for i in range(2):
        assert stats.kstest(unsquashed[:, i], stats.norm(mean[i], deviation[i]).cdf).pvalue > 1e-3
    wanted = log_prob(AGENT, observation, actions)
    np.testing.assert_allclose(log_probs, wanted, rtol=1e-2, atol=1e-2)
    mode = CENTER + HALF * np.tanh(mean)
    np.testing.assert_allclose(distribution.mode(), mode, rtol=1e-5)
    np.testing.assert_allclose(value, least(AGENT, observation, mode), rtol=1e-3)


@pytest.mark.parametrize(("given", "scale"), [(-100.0, np.exp(-20.0)), (100.0, np.exp(2.0))])
def test_deviations_are_kept_in_their_range(given, scale):
    distribution = AGENT.policy_head(jnp.array([0.0, 0.0, given, given]))
    found = distribution.distribution._normal.scale
    np.testing.assert_allclose(found, scale, rtol=1e-5)


def bad_agent(agent):
    stage = fx.sac_target()
    return stage.update(agent, stage.init(agent, lambda: None, KEY), transitions(0), KEY)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fx.sac_target(discount=2.0), fx.HyperparameterError, "sac_target: discount"),
        (lambda: fx.sac_target(n=0), fx.HyperparameterError, "sac_target: n"),
        (
            lambda: computed(transitions(0), n=6),
            fx.WiringError,
            r"sac_target: n.*fx\.replay\(\.\.\., length=6\)",
        ),
        (
            lambda: bad_agent(fx.deterministic_actor_critic(SPACES, key=KEY)),
            fx.WiringError,
            r"sac_target: agent: wanted.*log_temperature.*fx\.soft_actor_critic",
        ),
        (
            lambda: bad_agent(fx.agents.mlp_actor_critic(SPACES, key=KEY)),
            fx.WiringError,
            r"sac_target: agent: wanted.*fx\.soft_actor_critic",
        ),
        (
            lambda: fx.soft_actor_critic((SPACES[0], fx.spaces.MultiBinary(2)), key=KEY),
            fx.WiringError,
            r"soft_actor_critic: actions: wanted a Discrete space, or a Box.*recipes\.dqn",
        ),
        (
            lambda: made(0, num_critics=0),
            fx.HyperparameterError,
            "soft_actor_critic: num_critics",
        ),
        (
            lambda: fx.soft_actor_critic(SPACES, key=KEY, temperature=0.0),
            fx.HyperparameterError,
            "soft_actor_critic: temperature",
        ),
    ],
)
def test_bad_input_is_told_so(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_each_float_costs_no_compilation():
    """What is compiled depends on the structure, see test_anakin."""

    def split(x):
        alpha_loss = fx.temperature_loss(target_entropy=x)
        inner = fx.chain(
            fx.sac_target(discount=x, update=fx.polyak(x)),
            fx.minimize(alpha_loss, fx.optimizer(optax.adam, x), part="log_temperature"),
        )
        return fx.partition(fx.replay(inner, capacity=8, batch_size=2))

    (some, one), (others, other) = split(0.1), split(0.2)
    assert one == other
    assert sum(a != b for a, b in zip(some, others, strict=True)) == 4
