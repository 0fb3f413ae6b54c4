"""Targets of a deterministic policy's critics against numpy, ends in any pattern included."""

import dataclasses
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

KEY = jax.random.key(0)
BATCH, TIME = 3, 5
LOW, HIGH = np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32)
SPACES = (fx.spaces.Box(-1.0, 1.0, (3,)), fx.spaces.Box(LOW, HIGH))


def made(seed, **options):
    return fx.deterministic_actor_critic(SPACES, key=jax.random.key(seed), widths=(8,), **options)


def actor(agent):
    return agent.actor


def critic(agent):
    return agent.critic


AGENT, OTHER = made(0), made(1)


def transitions(seed, time=TIME, ends=0.3):
    rng = np.random.default_rng(seed)
    ended = rng.random((BATCH, time)) < ends
    terminated = ended & (rng.random((BATCH, time)) < 0.5)
    fields = (
        rng.normal(size=(BATCH, time, 3)).astype(np.float32),
        rng.uniform(LOW, HIGH, size=(BATCH, time, 2)).astype(np.float32),
        rng.normal(size=(BATCH, time)).astype(np.float32),
        terminated,
        ended & ~terminated,
        rng.normal(size=(BATCH, time, 3)).astype(np.float32),
    )
    return fx.data.Transitions(*map(jnp.asarray, fields))


def layers(mlp, x, which=()):
    """A multilayer perceptron of relus in numpy; `which` picks one of several."""
    picked = jax.tree.map(lambda leaf: np.asarray(leaf)[which], mlp)
    weights = [(layer.weight, layer.bias) for layer in picked.layers]
    for weight, bias in weights[:-1]:
        x = np.maximum(x @ weight + bias, 0)
    return x @ weights[-1][0] + weights[-1][1]


def acts(agent, observation):
    return (HIGH + LOW) / 2 + (HIGH - LOW) / 2 * np.tanh(layers(agent.actor, observation))


def values(agent, observation, action):
    """Of each critic, `(critics, ...)`."""
    unit = (action - (HIGH + LOW) / 2) / ((HIGH - LOW) / 2)
    x = np.concatenate([observation, unit], axis=-1)
    networks = agent.critic.networks
    count = networks.layers[0].bias.shape[0]
    return np.stack([layers(networks, x, i)[..., 0] for i in range(count)])


def n_step(data, n, discount, ahead):
    """Of each step that n follow, one loop, with the values `ahead` of each next observation."""
    targets = np.zeros((BATCH, data.reward.shape[1] - n + 1))
    for b in range(BATCH):
        for start in range(targets.shape[1]):
            total, factor = 0.0, 1.0
            for t in range(start, start + n):
                total += factor * float(data.reward[b, t])
                factor *= discount
                if data.terminated[b, t]:
                    factor = 0.0
                if data.done[b, t]:
                    break
            targets[b, start] = total + factor * ahead[b, t]
    return targets


@functools.cache
def compiled(n):
    def targets(agent, other, data, discount):
        stage = fx.td3_target(update=fx.polyak(0.0), n=n, discount=discount)
        state = eqx.tree_at(lambda s: s.network, stage.init(agent, lambda: None, KEY), other)
        return stage.update(agent, state, data, KEY).out

    return jax.jit(targets)


def computed(data, n=1, discount=0.99):
    return compiled(n)(AGENT, OTHER, data, discount)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 5]), st.floats(0.0, 1.0))
def test_targets_are_those_by_hand(seed, n, discount):
    data = transitions(seed)
    out = computed(data, n=n, discount=discount)
    after = np.asarray(data.next_observation)
    ahead = values(OTHER, after, acts(OTHER, after)).min(0)
    np.testing.assert_allclose(out.target, n_step(data, n, discount, ahead), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(out.action, data.action[:, : TIME - n + 1])


def test_a_time_limit_does_not_stop_bootstrapping():
    data = transitions(0, ends=0.0)
    on = jnp.ones((BATCH, TIME), bool)
    running = computed(data).target
    truncated = computed(eqx.tree_at(lambda d: d.truncated, data, on)).target
    terminated = computed(eqx.tree_at(lambda d: d.terminated, data, on)).target
    np.testing.assert_array_equal(truncated, running)
    np.testing.assert_array_equal(terminated, data.reward)
    assert np.all(running != data.reward)


@eqx.filter_jit
def updated(stage, agent, data):
    return stage.update(agent, stage.init(agent, lambda: None, KEY), data, KEY).out


def smoothed_actions(noise, clip, number=2000):
    """What the target actor is made to do, in one observation: seen through critics that
    give one of its numbers each, the second a thousandfold.
    """

    def told(features, action):
        return jnp.array([action[0], 1000.0 * action[1]])

    agent = eqx.tree_at(lambda a: a.critic, OTHER, told)
    agent = eqx.tree_at(lambda a: a.actor, agent, lambda features: jnp.array([0.0, 10.0]))
    data = jax.tree.map(lambda x: jnp.repeat(x[:1, :1], number, 0), transitions(0, ends=0.0))
    stage = fx.td3_target(noise=noise, clip=clip, discount=1.0)
    out = updated(stage, agent, data)
    return np.asarray(out.target - data.reward)[:, 0]


def test_noise_on_the_target_actions_has_its_size_and_its_clip():
    """The first number is in the middle, the second at its bound; the critic of the second
    never has the smaller value.
    """
    first = smoothed_actions(0.2, 0.3)
    inside = first[np.abs(first) < 0.299]
    assert np.abs(first).max() == pytest.approx(0.3, abs=1e-5)
    # The share of a normal that 1.5 deviations hold; and one draw for each step.
    assert len(inside) / len(first) == pytest.approx(0.866, abs=0.03)
    assert len(np.unique(inside)) > 0.99 * len(inside)
    assert first.mean() == pytest.approx(0.0, abs=0.02)
    assert smoothed_actions(1e-6, 0.3).std() < 1e-5


def test_smoothed_actions_stay_within_the_bounds():
    def told(features, action):
        return jnp.array([jnp.abs(action).max(), 2.0])

    agent = eqx.tree_at(lambda a: a.critic, OTHER, told)
    agent = eqx.tree_at(lambda a: a.actor, agent, lambda features: jnp.array([10.0, -10.0]))
    data = transitions(3, ends=0.0)
    stage = fx.td3_target(noise=1.0, clip=5.0, discount=1.0)
    out = updated(stage, agent, data)
    assert float((out.target - data.reward).max()) <= 1.0 + 1e-5


def test_a_gradient_step_takes_its_targets_for_constants():
    data, loss = transitions(1), fx.q_critic_loss()
    learn = fx.minimize(loss, optax.sgd(1.0))
    step = fx.chain(fx.td3_target(noise=0.2), learn)

    @jax.jit
    def move(agent):
        return step.update(agent, step.init(agent, lambda: None, KEY), data, KEY).agent

    moved = move(AGENT)
    # A stage's key depends on its name alone.
    constant = updated(fx.chain(fx.td3_target(noise=0.2)), AGENT, data)
    gradient = jax.jit(jax.grad(lambda agent: loss(agent, constant, KEY)[0]))(AGENT)
    for new, old, slope in zip(*map(jax.tree.leaves, (moved, AGENT, gradient)), strict=True):
        np.testing.assert_allclose(new, old - slope, rtol=1e-4, atol=1e-6)


def test_delayed_targets_follow_in_every_second_update():
    stage = fx.td3_target(update=fx.polyak(0.25, period=2))
    state, data = stage.init(AGENT, lambda: None, KEY), transitions(2)
    online = jax.tree.map(lambda x: x + 1.0, AGENT)
    update = jax.jit(lambda state: stage.update(online, state, data, KEY).state)
    moved = []
    for _ in range(4):
        state = update(state)
        moved.append(float((state.network.actor.layers[0].bias - AGENT.actor.layers[0].bias)[0]))
    np.testing.assert_allclose(moved, [0.25, 0.25, 0.4375, 0.4375], rtol=1e-6)


def learnt(seed=4):
    out = computed(transitions(seed))
    rng = np.random.default_rng(seed)
    return eqx.tree_at(lambda d: d.target, out, jnp.asarray(rng.normal(size=(BATCH, TIME)), float))


@pytest.mark.quick("2")
@pytest.mark.parametrize("num_critics", [1, 2, 3])
def test_the_critics_loss_is_that_by_hand(num_critics):
    agent, data = made(0, num_critics=num_critics), learnt()
    each = values(agent, np.asarray(data.observation), np.asarray(data.action))
    loss, metrics = eqx.filter_jit(fx.q_critic_loss())(agent, data, KEY)
    wanted = sum(((value - np.asarray(data.target)) ** 2).mean() / 2 for value in each)
    assert len(each) == num_critics
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    np.testing.assert_allclose(metrics["q_value"], each.mean(), rtol=1e-4)


def test_the_critics_loss_counts_windows_by_their_weights_and_reports_what_is_left_to_learn():
    agent, weight = made(0, num_critics=2), np.array([0.1, 1.0, 0.5], np.float32)
    data = dataclasses.replace(learnt(), weight=jnp.asarray(weight))
    each = values(agent, np.asarray(data.observation), np.asarray(data.action))
    errors = np.abs(each - np.asarray(data.target))
    output = eqx.filter_jit(fx.q_critic_loss().evaluate)(agent, data, KEY)
    wanted = sum((weight[:, None] * error**2).mean() / 2 for error in errors)
    np.testing.assert_allclose(output.loss, wanted, rtol=1e-5)
    apart = errors.mean(0)
    np.testing.assert_allclose(output.priority, 0.9 * apart.max(1) + 0.1 * apart.mean(1), rtol=1e-4)


@pytest.mark.parametrize("target", [fx.td3_target(), fx.sac_target()])
def test_weights_come_with_targets(target):
    agent = fx.soft_actor_critic(SPACES, key=KEY, widths=(4,))
    agent = agent if target.name == "sac_target" else AGENT
    data = dataclasses.replace(transitions(0), weight=jnp.arange(float(BATCH)))
    out = updated(target, agent, data)
    np.testing.assert_array_equal(out.weight, data.weight)


def test_the_actors_loss_is_that_by_hand():
    data = learnt()
    observation = np.asarray(data.observation)
    wanted = -values(AGENT, observation, acts(AGENT, observation))[0].mean()
    np.testing.assert_allclose(
        eqx.filter_jit(fx.dpg_loss())(AGENT, data, KEY)[0], wanted, rtol=1e-4
    )


def test_the_actors_gradient_is_the_chain_rule():
    """By differences of the actor's last bias; none for the critics."""
    data = learnt()

    def loss(agent):
        return fx.dpg_loss()(agent, data, KEY)[0]

    gradient = jax.jit(jax.grad(loss))(AGENT)
    for leaf in jax.tree.leaves(gradient.critic):
        np.testing.assert_array_equal(leaf, 0.0)
    observation = np.asarray(data.observation)

    def shifted(by):
        bias = AGENT.actor.layers[-1].bias + by
        agent = eqx.tree_at(lambda a: a.actor.layers[-1].bias, AGENT, bias)
        return -values(agent, observation, acts(agent, observation))[0].mean()

    step = np.array([1e-2, 0.0], np.float32)
    slope = (shifted(step) - shifted(-step)) / 2e-2
    np.testing.assert_allclose(gradient.actor.layers[-1].bias[0], slope, rtol=2e-2)


@pytest.mark.parametrize(
    ("stage", "own"),
    [
        (fx.minimize(fx.q_critic_loss(), optax.adam(0.1), part="critic"), "critic"),
        (fx.minimize(fx.dpg_loss(), optax.adam(0.1), part="actor"), "actor"),
    ],
)
def test_each_optimizer_touches_only_its_own_part(stage, own):
    data = learnt()

    @jax.jit
    def update(agent):
        return stage.update(agent, stage.init(agent, lambda: None, KEY), data, KEY).agent

    agent = update(AGENT)
    for part in ("actor", "critic"):
        pairs = zip(*(jax.tree.leaves(getattr(a, part)) for a in (agent, AGENT)), strict=True)
        same = [np.array_equal(new, old) for new, old in pairs]
        assert not any(same) if part == own else all(same)


def test_it_acts_as_its_actor_does_and_values_as_the_smaller_critic():
    observation = np.array([0.3, -0.2, 0.9], np.float32)
    memory, output = AGENT.step(AGENT.initial_memory(), observation, KEY)
    distribution, value = output.distribution, output.value
    action = acts(AGENT, observation)
    assert memory is None
    np.testing.assert_allclose(distribution.mode(), action, rtol=1e-5)
    np.testing.assert_array_equal(distribution.sample(seed=KEY), distribution.mode())
    assert float(distribution.log_prob(distribution.mode())) == 0.0
    assert float(distribution.log_prob(distribution.mode() + 0.1)) == -np.inf
    np.testing.assert_allclose(value, values(AGENT, observation, action).min(), rtol=1e-4)
    _, outputs = AGENT.unroll(None, observation[None], jnp.zeros(1, bool), KEY)
    assert outputs.value.shape == (1,)
    np.testing.assert_allclose(
        jax.vmap(lambda d: d.mode())(outputs.distribution)[0], action, rtol=1e-5
    )


def bad_agent(agent):
    stage = fx.td3_target()
    return stage.update(agent, stage.init(agent, lambda: None, KEY), transitions(0), KEY)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fx.td3_target(discount=2.0), fx.HyperparameterError, "discount"),
        (lambda: fx.td3_target(noise=-1.0), fx.HyperparameterError, "target: noise"),
        (lambda: fx.td3_target(clip=0.0), fx.HyperparameterError, "target: clip"),
        (lambda: fx.td3_target(n=0), fx.HyperparameterError, "td3_target: n"),
        (lambda: fx.polyak(0.5, period=0), fx.HyperparameterError, "polyak: period"),
        (
            lambda: computed(transitions(0), n=6),
            fx.WiringError,
            r"td3_target: n.*fx\.replay\(\.\.\., length=6\)",
        ),
        (
            lambda: bad_agent(fx.agents.mlp_actor_critic(SPACES, key=KEY)),
            fx.WiringError,
            r"td3_target: agent.*fx\.deterministic_actor_critic",
        ),
        (
            lambda: fx.q_critic_loss()(fx.agents.mlp_actor_critic(SPACES, key=KEY), learnt(), KEY),
            fx.WiringError,
            r"q_critic_loss: agent.*fx\.deterministic_actor_critic",
        ),
        (
            lambda: fx.deterministic_actor_critic("CartPole-v1", key=KEY),
            fx.WiringError,
            r"deterministic_actor_critic: actions: wanted a Box.*recipes\.dqn",
        ),
        (
            lambda: fx.deterministic_actor_critic(
                (SPACES[0], fx.spaces.Box(-1.0, np.inf, (2,))), key=KEY
            ),
            fx.WiringError,
            "finite bounds",
        ),
        (
            lambda: fx.deterministic_actor_critic(SPACES, key=KEY, num_critics=0),
            fx.HyperparameterError,
            "num_critics",
        ),
    ],
)
def test_bad_input_is_told_so(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_each_float_costs_no_compilation():
    """What is compiled depends on the structure, see test_anakin."""

    def split(x):
        inner = fx.chain(
            fx.td3_target(discount=x, noise=x, clip=x, update=fx.polyak(x, period=2)),
            critic=fx.minimize(fx.q_critic_loss(), fx.optimizer(optax.adam, x), part="critic"),
            actor=fx.every(
                2, fx.minimize(fx.dpg_loss(), fx.optimizer(optax.adam, x), part="actor")
            ),
        )
        collect = fx.rollout("Pendulum-v1", num_envs=1, num_steps=2, explore=fx.gaussian_noise(x))
        return fx.partition(fx.chain(collect, fx.replay(inner, capacity=8, batch_size=2)))

    (some, one), (others, other) = split(0.1), split(0.2)
    assert one == other
    assert sum(a != b for a, b in zip(some, others, strict=True)) == 7
