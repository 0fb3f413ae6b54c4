"""Discrete SAC: targets and losses against numpy."""

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
BATCH, TIME, CHOICES = 3, 5, 4
SPACES = (fx.spaces.Box(-1.0, 1.0, (3,)), fx.spaces.Discrete(CHOICES))
TEMPERATURE = 0.3


def made(seed, num_critics=2):
    """With an actor that is far from uniform."""
    agent = fx.soft_actor_critic(
        SPACES,
        key=jax.random.key(seed),
        widths=(8,),
        temperature=TEMPERATURE,
        num_critics=num_critics,
    )
    weight = jax.random.normal(jax.random.key(seed), agent.actor.layers[-1].weight.shape)
    return eqx.tree_at(lambda a: a.actor.layers[-1].weight, agent, weight)


AGENT, OTHER = made(0), made(1)


def transitions(seed, ends=0.3):
    rng = np.random.default_rng(seed)
    ended = rng.random((BATCH, TIME)) < ends
    terminated = ended & (rng.random((BATCH, TIME)) < 0.5)
    fields = (
        rng.normal(size=(BATCH, TIME, 3)).astype(np.float32),
        rng.integers(CHOICES, size=(BATCH, TIME)).astype(np.int32),
        rng.normal(size=(BATCH, TIME)).astype(np.float32),
        terminated,
        ended & ~terminated,
        rng.normal(size=(BATCH, TIME, 3)).astype(np.float32),
    )
    return fx.data.Transitions(*map(jnp.asarray, fields))


def layers(mlp, x, which=()):
    picked = [(np.asarray(at.weight)[which], np.asarray(at.bias)[which]) for at in mlp.layers]
    for weight, bias in picked[:-1]:
        x = np.maximum(x @ weight + bias, 0)
    return x @ picked[-1][0] + picked[-1][1]


def probabilities(agent, observation):
    logits = layers(agent.actor, np.asarray(observation)).astype(np.float64)
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def values(agent, observation):
    """`(critics, ..., actions)`."""
    return np.stack([layers(agent.critic, np.asarray(observation), i) for i in range(2)])


def policy_terms(agent, critic, observation):
    """The mean over the actions of what the least critic says, and the policy's entropy."""
    chances = probabilities(agent, observation)
    worth = (chances * values(critic, observation).min(0)).sum(-1)
    return worth, -(chances * np.log(chances)).sum(-1)


@functools.cache
def compiled(n):
    def targets(agent, other, data, key, discount):
        stage = fx.sac_target(update=fx.polyak(0.0), n=n, discount=discount)
        state = eqx.tree_at(lambda s: s.network, stage.init(agent, lambda: None, KEY), other.critic)
        return stage.update(agent, state, data, key).out

    return jax.jit(targets)


def computed(data, key=KEY, n=1, discount=0.99):
    return compiled(n)(AGENT, OTHER, data, key, discount)


def learnt(seed=4):
    return computed(transitions(seed))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 5]), st.floats(0.0, 1.0))
def test_targets_are_those_by_hand(seed, n, discount):
    data = transitions(seed)
    worth, entropy = policy_terms(AGENT, OTHER, data.next_observation)
    ahead = worth + TEMPERATURE * entropy
    wanted = np.zeros((BATCH, TIME - n + 1))
    for b, start in np.ndindex(wanted.shape):
        for t in range(start, start + n):
            wanted[b, start] += discount ** (t - start) * float(data.reward[b, t])
            if data.done[b, t]:
                break
        if not data.terminated[b, t]:
            wanted[b, start] += discount ** (t + 1 - start) * ahead[b, t]
    out = computed(data, n=n, discount=discount)
    np.testing.assert_allclose(out.target, wanted, rtol=1e-4, atol=1e-4)


def test_nothing_is_left_to_chance():
    data = transitions(0)
    first, second = (computed(data, key=jax.random.key(i)).target for i in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_critics_loss_is_that_by_hand():
    data = computed(transitions(2))
    picked = np.asarray(data.action)[None, ..., None]
    taken = np.take_along_axis(values(AGENT, data.observation), picked, -1)[..., 0]
    wanted = (0.5 * (taken - np.asarray(data.target)) ** 2).mean((1, 2)).sum()
    np.testing.assert_allclose(
        eqx.filter_jit(fx.q_critic_loss())(AGENT, data, KEY)[0], wanted, rtol=1e-5
    )


def test_the_policys_loss_and_its_gradient_are_those_by_hand():
    """The gradient by differences of the actor's last biases; the other parts get none."""
    data = learnt()

    def loss(agent):
        worth, entropy = policy_terms(agent, AGENT, data.observation)
        return (-worth - TEMPERATURE * entropy).mean()

    ours = jax.jit(jax.value_and_grad(lambda agent: fx.sac_policy_loss()(agent, data, KEY)[0]))
    found, gradient = ours(AGENT)
    np.testing.assert_allclose(found, loss(AGENT), rtol=1e-5)
    bias = AGENT.actor.layers[-1].bias
    for i, own in enumerate(gradient.actor.layers[-1].bias):
        sides = (
            loss(eqx.tree_at(lambda a: a.actor.layers[-1].bias, AGENT, bias.at[i].add(step)))
            for step in (1e-2, -1e-2)
        )
        np.testing.assert_allclose(own, np.subtract(*sides) / 2e-2, rtol=1e-2, atol=1e-4)
    for leaf in jax.tree.leaves((gradient.critic, gradient.log_temperature)):
        np.testing.assert_array_equal(leaf, 0.0)


@pytest.mark.parametrize("target", [None, 0.3])
def test_the_temperatures_loss_is_that_by_hand(target):
    data = learnt()
    entropy = policy_terms(AGENT, AGENT, data.observation)[1].mean()
    loss = fx.temperature_loss(target_entropy=target)
    ours = jax.jit(jax.value_and_grad(lambda agent: loss(agent, data, KEY), has_aux=True))
    (found, metrics), gradient = ours(AGENT)
    wanted = TEMPERATURE * (entropy - (0.5 * np.log(CHOICES) if target is None else target))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    np.testing.assert_allclose(metrics["policy_entropy"], entropy, rtol=1e-4)
    assert float(gradient.log_temperature) != 0.0
    for leaf in jax.tree.leaves((gradient.actor, gradient.critic)):
        np.testing.assert_array_equal(leaf, 0.0)


def test_it_acts_by_its_probabilities():
    observation = jnp.array([0.3, -0.2, 0.9])
    _, output = AGENT.step(AGENT.initial_memory(), observation, KEY)
    distribution, value = output.distribution, output.value
    chances = probabilities(AGENT, observation)
    np.testing.assert_allclose(distribution.probs, chances, rtol=1e-4)
    assert int(distribution.mode()) == chances.argmax()
    best = values(AGENT, observation)[:, chances.argmax()]
    np.testing.assert_allclose(value, best.min(), rtol=1e-4)


@pytest.mark.quick("3")
@pytest.mark.parametrize("num_critics", [1, 3])
def test_any_number_of_critics_will_do(num_critics):
    agent = made(0, num_critics)
    assert agent.q_values(jnp.zeros(3), KEY).shape == (num_critics, CHOICES)


@pytest.mark.slow
def test_images_are_seen():
    spaces = (fx.spaces.Box(0.0, 1.0, (8, 8, 3)), fx.spaces.Discrete(2))
    agent = fx.soft_actor_critic(spaces, key=KEY, widths=(4,))
    assert agent.q_values(jnp.zeros((8, 8, 3)), KEY).shape == (2, 2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: fx.temperature_loss(target_entropy=jnp.nan),
            fx.HyperparameterError,
            r"temperature_loss: target_entropy: wanted a number",
        ),
        (
            lambda: fx.minimize(fx.dpg_loss(), optax.sgd(0.1)).update(AGENT, (), learnt(), KEY),
            fx.WiringError,
            r"dpg_loss: agent: wanted.*for continuous actions",
        ),
        (
            lambda: fx.td3_target().update(
                AGENT, fx.td3_target().init(AGENT, lambda: None, KEY), transitions(0), KEY
            ),
            fx.WiringError,
            r"td3_target: agent: wanted an agent with policy.*for continuous actions",
        ),
    ],
)
def test_bad_input_is_told_so(make, error, message):
    with pytest.raises(error, match=message):
        make()
