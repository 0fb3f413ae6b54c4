"""Loss terms against closed forms; their algebra; and how often a network is evaluated."""

import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rlax

import lerax_fx as fx

KEY = jax.random.key(0)
ENV = fx.make("CartPole-v1")
AGENT = fx.actor_critic(ENV, key=KEY)
LATER = fx.actor_critic(ENV, key=jax.random.key(1))


def collected(agent=AGENT, num_envs=4, num_steps=8):
    algorithm = fx.chain(fx.rollout(ENV, num_envs=num_envs, num_steps=num_steps), fx.gae())
    return algorithm.update(agent, algorithm.init(agent, lambda: None, KEY), None, KEY).out


@pytest.fixture(scope="module")
def data():
    return collected()


@pytest.fixture(scope="module")
def evaluation(data):
    """Another policy's view of the data, in numpy."""
    result = fx.losses.forward(LATER, data, KEY)
    logits = np.asarray(result.distribution.logits, float)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    action = np.asarray(data.rollout.action)
    log_prob = np.take_along_axis(log_probs, action[..., None], -1)[..., 0]
    entropy = -(np.exp(log_probs) * log_probs).sum(-1)
    return log_prob, entropy, np.asarray(result.value, float)


def value_of(loss, data, agent=LATER):
    return loss(agent, data, KEY)


def test_clipped_surrogate(data, evaluation):
    log_ratio = evaluation[0] - np.asarray(data.rollout.log_prob)
    ratio, advantage = np.exp(log_ratio), np.asarray(data.advantage)
    expected = -np.minimum(ratio * advantage, np.clip(ratio, 0.99, 1.01) * advantage).mean()
    value, metrics = value_of(fx.clipped_surrogate(clip=0.01), data)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["clip_fraction"], (abs(ratio - 1) > 0.01).mean())
    expected = (ratio - 1 - log_ratio).mean()
    np.testing.assert_allclose(metrics["approximate_kl"], expected, atol=1e-6)


@pytest.mark.quick("0.05")
@pytest.mark.parametrize("clip", [None, 0.05])
def test_value_loss(data, evaluation, clip):
    value, target, old = evaluation[2], np.asarray(data.target), np.asarray(data.rollout.value)
    expected = (value - target) ** 2
    if clip is not None:
        clipped = old + np.clip(value - old, -clip, clip)
        expected = np.maximum(expected, (clipped - target) ** 2)
    result, _ = value_of(fx.value_loss(clip=clip), data)
    np.testing.assert_allclose(result, expected.mean() / 2, rtol=1e-5)


def test_entropy_and_policy_gradient(data, evaluation):
    np.testing.assert_allclose(value_of(fx.entropy(), data)[0], evaluation[1].mean(), rtol=1e-5)
    expected = -(evaluation[0] * np.asarray(data.advantage)).mean()
    np.testing.assert_allclose(value_of(fx.policy_gradient(), data)[0], expected, rtol=1e-4)


def test_policy_gradient_has_the_gradient_of_rlax(data):
    def ours(agent):
        return fx.policy_gradient()(agent, data, KEY)[0]

    def theirs(agent):
        logits = fx.losses.forward(agent, data, KEY).distribution.logits
        weights = jnp.ones(logits.shape[1])
        loss = jax.vmap(rlax.policy_gradient_loss, in_axes=(0, 0, 0, None))
        return loss(logits, data.rollout.action, data.advantage, weights).mean()

    for a, b in zip(
        *map(jax.tree.leaves, (jax.grad(ours)(LATER), jax.grad(theirs)(LATER))), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


def test_ppo_loss_is_the_sum_that_it_says_it_is(data):
    whole = fx.ppo_loss(clip=0.1, value_weight=0.7, entropy_weight=0.03)
    parts = fx.clipped_surrogate(clip=0.1) + 0.7 * fx.value_loss(clip=0.1) - 0.03 * fx.entropy()
    a, b = (jax.grad(lambda agent, x=x: x(agent, data, KEY)[0])(LATER) for x in (whole, parts))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)
    value, metrics = whole(LATER, data, KEY)
    expected = (
        metrics["clipped_surrogate"] + 0.7 * metrics["value_loss"] - 0.03 * metrics["entropy"]
    )
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_losses_are_added_and_scaled(data):
    a, b = fx.entropy(), fx.value_loss()
    x, y = a(LATER, data, KEY)[0], b(LATER, data, KEY)[0]
    for loss, expected in [
        (a + b, x + y),
        (a - b, x - y),
        (-a, -x),
        (2 * a, 2 * x),
        (a * 0.5, x / 2),
        (0.5 * (a - 4 * b), 0.5 * x - 2 * y),
    ]:
        np.testing.assert_allclose(loss(LATER, data, KEY)[0], expected, rtol=1e-5)
    with pytest.raises(TypeError):
        a + 1.0


def matrix_products(function, *args):
    """How many there are in the compiled program."""
    text = jax.jit(function).lower(*args).compile().as_text()
    return len(re.findall(r" dot\(", text))


def test_one_forward_and_one_backward_pass_through_each_network(data):
    stage = fx.minimize(fx.ppo_loss(), optax.sgd(1e-2))
    state = stage.init(AGENT, lambda: None, KEY)
    step = matrix_products(lambda agent: stage.update(agent, state, data, KEY).agent, AGENT)
    observation = data.rollout.observation.reshape(-1, 4)

    def forward(network):
        return jax.vmap(network)(observation)

    def both(network):
        return jax.value_and_grad(lambda network: (forward(network) ** 2).sum())(network)

    assert matrix_products(forward, AGENT.actor) == 3
    assert matrix_products(both, AGENT.actor) > 3
    assert step == matrix_products(both, AGENT.actor) + matrix_products(both, AGENT.critic)


def test_terms_share_one_evaluation(data):
    calls = []

    def evaluate(agent, data, key):
        calls.append(1)
        return fx.losses.forward(agent, data, key)

    @fx.loss_term(evaluate)
    def first(evaluation: fx.losses.PolicyOutput, data: fx.data.Estimates) -> fx.typing.Scalar:
        return evaluation.value.mean()

    @fx.loss_term(evaluate)
    def second(evaluation: fx.losses.PolicyOutput, data: fx.data.Estimates) -> fx.typing.Scalar:
        return (evaluation.value**2).mean()

    (first() + 2.0 * second())(AGENT, data, KEY)
    assert len(calls) == 1


@pytest.mark.quick("True")
@pytest.mark.parametrize("memory", [False, True])
def test_the_first_ratio_is_1(memory):
    """What acted and what learns agree to the last bit: for up to 64 environments, whose
    matrix products have the same kernels. Beyond, products are rounded otherwise.
    """
    agent = fx.agents.gru_actor_critic(ENV, key=KEY) if memory else AGENT
    data = jax.jit(lambda agent: collected(agent, num_envs=16, num_steps=32))(agent)
    log_prob = jax.jit(lambda a, d: fx.losses.forward(a, d, KEY).log_prob(d.rollout.action))(
        agent, data
    )
    assert bool(data.rollout.done.any()), "no reset in the trajectories"
    ratio = np.exp(np.asarray(log_prob) - np.asarray(data.rollout.log_prob))
    np.testing.assert_array_max_ulp(ratio, np.ones_like(ratio), maxulp=1)
    metrics = fx.ppo_loss()(agent, data, KEY)[1]
    assert float(metrics["clip_fraction"]) == 0.0
    np.testing.assert_allclose(metrics["approximate_kl"], 0.0, atol=1e-6)


def test_minimize_is_optax_by_hand(data):
    optimizer, loss = optax.adam(1e-2), fx.ppo_loss()
    stage = fx.minimize(loss, optimizer)
    step = stage.update(AGENT, stage.init(AGENT, lambda: None, KEY), data, KEY)
    gradient = jax.grad(lambda agent: loss(agent, data, KEY)[0])(AGENT)
    updates, _ = optimizer.update(gradient, optimizer.init(AGENT), AGENT)
    expected = optax.apply_updates(AGENT, updates)
    for a, b in zip(jax.tree.leaves(step.agent), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_where_trains_its_part_alone(data):
    stage = fx.minimize(fx.ppo_loss(), optax.sgd(1.0), part="critic")
    trained = stage.update(AGENT, stage.init(AGENT, lambda: None, KEY), data, KEY).agent
    assert eqx.tree_equal(trained.actor, AGENT.actor)
    assert not eqx.tree_equal(trained.critic, AGENT.critic)


def test_anneal():
    schedule = fx.anneal(1.0, num_updates=4, steps_per_update=2)
    values = [float(schedule(count)) for count in range(8)]
    np.testing.assert_allclose(values, [1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25])


def test_anneal_stays_at_0_past_its_updates():
    schedule = fx.anneal(1.0, num_updates=4, steps_per_update=2)
    assert [float(schedule(count)) for count in (8, 9, 10, 1000)] == [0.0] * 4


def term_of(function, evaluate=lambda agent, data, key: agent.critic):
    return fx.loss_term(evaluate)(function)()


def test_the_type_of_the_data_is_read_by_the_parameter():
    def bare(evaluation, data):
        return evaluation

    def data_alone(evaluation, data: fx.data.Estimates):
        return evaluation

    def others(evaluation: jax.Array, data, *, weight: float = 1.0) -> jax.Array:
        return evaluation

    types = [term_of(f).input_type for f in (bare, data_alone, others)]
    assert types == [Any, fx.data.Estimates, Any]
    assert (term_of(bare) + fx.entropy()).input_type is fx.data.Estimates
    assert (fx.entropy() + term_of(bare)).input_type is fx.data.Estimates


def test_a_sum_of_losses_on_different_data_is_refused_where_it_is_written():
    with pytest.raises(fx.WiringError, match=r"entropy \+ q_loss.*Estimates.*Targets"):
        fx.entropy() + fx.q_loss()
    with pytest.raises(fx.WiringError, match=r"value_loss \+ q_loss"):
        (fx.entropy() + fx.value_loss()) - 0.5 * fx.q_loss()


NO_LOSSES = {
    "a Python number": lambda evaluation, data: 1.0,
    "None": lambda evaluation, data: None,
    "an int": lambda evaluation, data: data.rollout.action.sum(),
    "a bool": lambda evaluation, data: data.rollout.terminated.any(),
    "numpy's": lambda evaluation, data: np.float32(1.0),
}


@pytest.mark.parametrize("name", NO_LOSSES)
def test_what_is_no_loss_is_refused_by_the_terms_name(data, name):
    def mine(evaluation, data):
        return NO_LOSSES[name](evaluation, data)

    with pytest.raises(fx.WiringError, match="loss term 'mine': wanted a float scalar"):
        term_of(mine)(AGENT, data, KEY)


def test_a_loss_without_a_gradient_is_refused(data):
    def constant(evaluation, data):
        return data.advantage.mean()

    def stopped(evaluation, data):
        return jax.lax.stop_gradient(evaluation.layers[0].weight).mean()

    def update(loss, **options):
        stage = fx.minimize(loss, optax.sgd(1.0), **options)
        return jax.eval_shape(
            lambda: stage.update(AGENT, stage.init(AGENT, lambda: None, KEY), data, KEY).agent
        )

    for loss in (term_of(constant), term_of(stopped)):
        with pytest.raises(fx.WiringError, match="depends on the arrays that are trained"):
            update(loss)
        update(loss + fx.value_loss())
    with pytest.raises(fx.WiringError, match="entropy"):
        update(fx.entropy(), part="critic")
