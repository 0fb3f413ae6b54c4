"""Estimators against loops in numpy, ends of episodes in any pattern."""

import distrax
import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import rlax
from hypothesis import given, settings

import lerax_fx as fx

TIME = 12


def trajectory(seed, ends=0.3, batch=(), time=TIME):
    """Random numbers, and episodes that end in all four ways, at the last step as well."""
    random = np.random.default_rng(seed)
    shape = (*batch, time)
    terminated, truncated = random.random(shape) < ends, random.random(shape) < ends
    value = random.normal(size=shape)
    next_value = random.normal(size=shape)
    # Within an episode, what follows a step is the next row.
    inside = ~(terminated | truncated)[..., :-1]
    next_value[..., :-1] = np.where(inside, value[..., 1:], next_value[..., :-1])
    numbers = {
        "observation": random.normal(size=(*shape, 2)),
        "action": random.integers(0, 3, shape),
        "reward": random.normal(size=shape),
        "terminated": terminated,
        "truncated": truncated,
        "next_observation": random.normal(size=(*shape, 2)),
        "log_prob": np.log(random.uniform(0.1, 1.0, shape)),
        "value": value,
        "next_value": np.where(terminated, 0.0, next_value),
    }
    as_arrays = {
        name: jnp.asarray(x, x.dtype if x.dtype in (bool, int) else jnp.float32)
        for name, x in numbers.items()
    }
    return fx.data.Rollout(**as_arrays)


def brute_gae(rollout, discount, lambda_):
    r, v, n = (np.asarray(x, float) for x in (rollout.reward, rollout.value, rollout.next_value))
    terminated, done = np.asarray(rollout.terminated), np.asarray(rollout.done)
    advantage = np.zeros(len(r))
    for t in range(len(r)):
        weight = 1.0
        for k in range(t, len(r)):
            advantage[t] += weight * (r[k] + discount * n[k] * (not terminated[k]) - v[k])
            if done[k]:
                break
            weight *= discount * lambda_
    return advantage


def brute_n_step(rollout, n, discount):
    r, after = np.asarray(rollout.reward, float), np.asarray(rollout.next_value, float)
    terminated, done = np.asarray(rollout.terminated), np.asarray(rollout.done)
    target = np.zeros(len(r))
    for t in range(len(r)):
        for i in range(n):
            k = t + i
            target[t] += discount**i * r[k]
            if done[k] or i == n - 1 or k == len(r) - 1:
                target[t] += discount ** (i + 1) * after[k] * (not terminated[k])
                break
    return target


fractions = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.2, 0.7]), fractions, fractions)
def test_gae_is_brute_force(seed, ends, discount, lambda_):
    rollout = trajectory(seed, ends)
    estimates = fx.gae.function(rollout, discount=discount, lambda_=lambda_)
    expected = brute_gae(rollout, discount, lambda_)
    np.testing.assert_allclose(estimates.advantage, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(estimates.target, expected + rollout.value, rtol=1e-5, atol=1e-5)


def test_gae_is_rlax_where_episodes_only_terminate():
    rollout = trajectory(0)
    rollout = eqx.tree_at(lambda r: r.truncated, rollout, jnp.zeros(TIME, bool))
    follows = jnp.append(rollout.value[1:], rollout.next_value[-1])
    rollout = eqx.tree_at(lambda r: r.next_value, rollout, follows * ~rollout.terminated)
    expected = rlax.truncated_generalized_advantage_estimation(
        rollout.reward,
        0.97 * (1.0 - rollout.terminated),
        0.9,
        jnp.append(rollout.value, rollout.next_value[-1]),
    )
    advantage = fx.gae.function(rollout, discount=0.97, lambda_=0.9).advantage
    np.testing.assert_allclose(advantage, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.2, 0.7]), st.integers(1, 15), fractions)
def test_n_step_returns_are_brute_force(seed, ends, n, discount):
    rollout = trajectory(seed, ends)
    estimates = fx.n_step_returns.function(
        rollout, n=n if n <= rollout.reward.shape[-1] else None, discount=discount
    )
    expected = brute_n_step(rollout, n, discount)
    np.testing.assert_allclose(estimates.target, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(estimates.advantage, expected - rollout.value, rtol=1e-5, atol=1e-5)


def test_a_batch_is_its_trajectories():
    batch = trajectory(1, batch=(2, 3))
    together = fx.gae.function(batch).advantage
    for i in np.ndindex(2, 3):
        alone = fx.gae.function(jax.tree.map(lambda x, i=i: x[i], batch)).advantage
        np.testing.assert_allclose(together[i], alone, rtol=1e-6)


class Fixed(eqx.Module):
    """A policy that ignores what it sees."""

    logits: jax.Array

    def initial_memory(self):
        return None

    def step(self, memory, observation, key):
        return None, fx.agents.Output(distrax.Categorical(self.logits), jnp.zeros(()))

    def unroll(self, memory, observations, resets, key):
        return None, jax.vmap(lambda observation: self.step(None, observation, key)[1])(
            observations
        )


def brute_vtrace(rollout, log_ratio, discount, lambda_, clip_rho, clip_policy_rho):
    r, v, n = (np.asarray(x, float) for x in (rollout.reward, rollout.value, rollout.next_value))
    done, ratio = np.asarray(rollout.done), np.exp(log_ratio)
    error, q = np.zeros(len(r)), np.zeros(len(r))
    for t in reversed(range(len(r))):
        ends = done[t] or t == len(r) - 1
        delta = min(clip_rho, ratio[t]) * (r[t] + discount * n[t] - v[t])
        later = 0.0 if ends else discount * lambda_ * min(1.0, ratio[t]) * error[t + 1]
        error[t] = delta + later
        # IMPALA's advantage looks one step ahead, at the corrected value there.
        target = n[t] if ends else lambda_ * (error[t + 1] + v[t + 1]) + (1 - lambda_) * v[t + 1]
        q[t] = r[t] + discount * target
    return error + v, np.minimum(clip_policy_rho, ratio) * (q - v)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3]), fractions, st.floats(0.5, 2.0))
def test_vtrace_is_brute_force(seed, ends, lambda_, clip_rho):
    rollout = trajectory(seed, ends)
    logits = jnp.array([0.3, -0.2, 1.0])
    log_ratio = jax.nn.log_softmax(logits)[rollout.action] - rollout.log_prob
    settings = {"discount": 0.95, "lambda_": lambda_, "clip_rho": clip_rho, "clip_policy_rho": 1.2}
    estimates = fx.vtrace.function(Fixed(logits), rollout, **settings)
    target, advantage = brute_vtrace(rollout, np.asarray(log_ratio), *settings.values())
    np.testing.assert_allclose(estimates.target, target, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(estimates.advantage, advantage, rtol=1e-4, atol=1e-5)


def test_normalised_advantages_have_mean_0_and_deviation_1():
    estimates = fx.gae.function(trajectory(3, batch=(4,)))
    normalised = fx.normalize_advantage.function(estimates)
    expected = np.asarray(estimates.advantage)
    expected = (expected - expected.mean()) / (expected.std() + 1e-8)
    np.testing.assert_allclose(normalised.advantage, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(normalised.target, estimates.target)


def test_the_gradient_reaches_the_discount():
    with jax.enable_x64(True):
        rollout = jax.tree.map(
            lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, trajectory(5)
        )

        def total(discount):
            return fx.gae.function(rollout, discount=discount).advantage.sum()

        difference = (total(0.9 + 1e-6) - total(0.9 - 1e-6)) / 2e-6
        np.testing.assert_allclose(jax.grad(total)(0.9), difference, rtol=1e-6)
