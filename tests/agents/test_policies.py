import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lerax_fx import WiringError
from lerax_fx.agents import GaussianPolicy, SquashedNormal, policy_for
from lerax_fx.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Tuple

KEY = jax.random.key(0)


def log_softmax(x):
    return x - np.log(np.sum(np.exp(x)))


def test_categorical():
    logits = np.array([0.3, -1.0, 2.0], np.float32)
    d = policy_for(Discrete(3))(jnp.asarray(logits))
    logs = log_softmax(logits)
    np.testing.assert_allclose([d.log_prob(i) for i in range(3)], logs, rtol=1e-5)
    np.testing.assert_allclose(d.entropy(), -np.sum(np.exp(logs) * logs), rtol=1e-5)
    assert d.mode() == 2


def test_multi_categorical_is_a_sum_and_ignores_its_padding():
    policy = policy_for(MultiDiscrete([2, 3]))
    outputs = jnp.array([0.5, -0.5, 9.0, 0.0, 1.0, -1.0])
    d = policy(outputs)
    first, second = log_softmax(np.array([0.5, -0.5])), log_softmax(np.array([0.0, 1.0, -1.0]))
    np.testing.assert_allclose(d.log_prob(jnp.array([1, 2])), first[1] + second[2], rtol=1e-5)
    entropy = -sum(np.sum(np.exp(x) * x) for x in (first, second))
    np.testing.assert_allclose(d.entropy(), entropy, rtol=1e-5)
    draws = d.sample(seed=KEY, sample_shape=200)
    assert draws.dtype == jnp.int32
    assert set(np.asarray(draws[:, 0])) == {0, 1}
    assert set(np.asarray(draws[:, 1])) == {0, 1, 2}

    @jax.jit
    @jax.grad
    def gradient(x):
        return policy(x).log_prob(jnp.array([1, 2])) + policy(x).entropy()

    assert np.all(np.isfinite(gradient(outputs)))
    assert gradient(outputs)[2] == 0


def test_bernoulli():
    logits = np.array([0.3, -1.0], np.float32)
    d = policy_for(MultiBinary(2))(jnp.asarray(logits))
    p = 1 / (1 + np.exp(-logits))
    wanted = np.log(p[0]) + np.log(1 - p[1])
    np.testing.assert_allclose(d.log_prob(jnp.array([1, 0], jnp.int8)), wanted, rtol=1e-5)
    entropy = -np.sum(p * np.log(p) + (1 - p) * np.log(1 - p))
    np.testing.assert_allclose(d.entropy(), entropy, rtol=1e-5)
    assert d.mode().dtype == jnp.int8


@pytest.mark.quick("shape0", "shape2")
@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_gaussian(shape):
    policy = policy_for(Box(-1.0, 1.0, shape), log_std=-0.5)
    size = math.prod(shape)
    mean = np.linspace(-1, 1, size, dtype=np.float32)
    d = policy(jnp.asarray(mean))
    action = jnp.full(shape, 0.3)
    std = math.exp(-0.5)
    wanted = np.sum(-0.5 * ((0.3 - mean) / std) ** 2 + 0.5 - 0.5 * math.log(2 * math.pi))
    np.testing.assert_allclose(d.log_prob(action), wanted, rtol=1e-5)
    entropy = size * (0.5 * math.log(2 * math.pi * math.e) - 0.5)
    np.testing.assert_allclose(d.entropy(), entropy, rtol=1e-5)
    assert d.sample(seed=KEY).shape == d.mode().shape == shape
    assert isinstance(policy, GaussianPolicy)


@jax.jit
def squashed_facts(loc, scale, actions):
    d = SquashedNormal(loc, scale, -1.0, 3.0)
    draws, log_probs = d.sample_and_log_prob(seed=KEY, sample_shape=40_000)
    return d.log_prob(actions), d.entropy(), d.mode(), draws, log_probs


@pytest.mark.quick("0.1-0.5", "1.5--2.0")
@pytest.mark.parametrize("loc", [-2.0, 0.0, 0.5])
@pytest.mark.parametrize("scale", [0.1, 0.6, 1.5])
def test_squashed_density_integrates_to_one_and_gives_the_entropy(loc, scale):
    # In the Gaussian's coordinate, where a grid reaches the bounds. What a float32 cannot
    # tell from a bound is left out, of the Gaussian as well.
    x = np.linspace(loc - 6 * scale, loc + 6 * scale, 4001)
    actions = np.asarray(1 + 2 * np.tanh(x), np.float32)
    keep = np.abs(x) < 5
    log_prob, entropy, mode, draws, log_probs = squashed_facts(loc, scale, actions)
    density = np.exp(np.asarray(log_prob, float)) * 2 / np.cosh(x) ** 2
    gaussian = np.exp(-0.5 * ((x - loc) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
    kept = np.sum(gaussian[keep]) * (x[1] - x[0])
    assert kept > 0.97
    assert np.sum(density[keep]) * (x[1] - x[0]) == pytest.approx(kept, abs=1e-3)
    assert jnp.all((draws >= -1) & (draws <= 3))
    error = 5 * float(jnp.std(log_probs)) / 200 + 1e-3
    assert float(entropy) == pytest.approx(-float(jnp.mean(log_probs)), abs=error)
    assert float(jnp.mean(draws <= mode)) == pytest.approx(0.5, abs=0.02)


def test_squashed_log_probs_agree_with_those_of_sampling():
    d = SquashedNormal(jnp.asarray([0.2, -0.4]), jnp.asarray([0.5, 1.0]), (-1.0, 0.0), (1.0, 5.0))
    draws, log_probs = d.sample_and_log_prob(seed=KEY, sample_shape=100)
    np.testing.assert_allclose(log_probs, d.log_prob(draws), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bound", [-2.0, 2.0])
def test_squashed_log_prob_on_a_bound_is_finite_and_so_are_its_gradients(bound):
    def log_prob(loc, scale, action):
        return SquashedNormal(loc, scale, -2.0, 2.0).log_prob(action)

    arguments = (jnp.asarray(0.0), jnp.asarray(1.0), jnp.asarray(bound))
    assert jnp.isfinite(log_prob(*arguments))
    for gradient in jax.jit(jax.grad(log_prob, argnums=(0, 1, 2)))(*arguments):
        assert jnp.isfinite(gradient)


def test_squashed_entropy_has_a_gradient():
    @jax.jit
    def entropy(loc, scale):
        return SquashedNormal(loc, scale, -1.0, 1.0).entropy()

    loc, scale = jnp.asarray(0.0), jnp.asarray(0.5)
    by_loc, by_scale = jax.grad(entropy, argnums=(0, 1))(loc, scale)
    assert by_loc == pytest.approx(0.0, abs=1e-5)
    step = 1e-2
    difference = (entropy(loc, scale + step) - entropy(loc, scale - step)) / (2 * step)
    assert by_scale == pytest.approx(float(difference), abs=1e-2)


def test_bounds_are_structure():
    policy = policy_for(Box(-1.0, 1.0, (2,)), squash=True)
    d = policy(jnp.zeros(2))
    assert [leaf.shape for leaf in jax.tree.leaves(policy)] == [(2,)]
    assert [leaf.shape for leaf in jax.tree.leaves(d)] == [(2,), (2,)]


def test_divergence_of_squashed_policies_is_that_of_the_gaussians():
    policy = policy_for(Box(-1.0, 1.0, (2,)), squash=True)
    p, q = policy(jnp.zeros(2)), policy(jnp.ones(2))
    assert float(p.kl_divergence(q)) == pytest.approx(1.0)
    with pytest.raises(NotImplementedError, match="equal bounds"):
        p.kl_divergence(policy_for(Box(-2.0, 1.0, (2,)), squash=True)(jnp.ones(2)))


def test_spaces_without_a_policy():
    with pytest.raises(WiringError, match="policy_for: actions: wanted a Discrete"):
        policy_for(Tuple((Discrete(2),)))
    with pytest.raises(WiringError, match="got Box"):
        policy_for(Box(0, 5, (2,), np.int32))
    with pytest.raises(WiringError, match="squash: wanted finite bounds"):
        policy_for(Box(-np.inf, 1.0, (2,)), squash=True)
    with pytest.raises(WiringError, match="squash: wanted a Box"):
        policy_for(Discrete(2), squash=True)
    with pytest.raises(WiringError, match="known while tracing"):
        jax.jit(lambda high: policy_for(Box(-1.0, high, (2,)), squash=True).log_std)(1.0)
