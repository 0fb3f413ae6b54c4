"""`discount ** dt`, against loops in numpy; episodes end in any pattern."""

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lerax_fx as fx
from lerax_fx.data import discounts, durations

KEY = jax.random.key(0)
TIME = 8
SPACES = (
    fx.envs.TimedSpace(fx.spaces.Box(-1.0, 1.0, (2,)), fx.spaces.Box(0.0, 9.0)),
    fx.spaces.Discrete(3),
)
AGENT = fx.q_agent(SPACES, key=KEY, widths=(4,))
fractions = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0))


class Fixed(eqx.Module):
    """A policy that ignores what it sees."""

    logits: jax.Array

    def initial_memory(self):
        return None

    def unroll(self, memory, observations, resets):
        def act(dt):
            return distrax.Categorical(self.logits), jnp.zeros(())

        return None, *jax.vmap(act)(observations.dt)


def trajectory(seed, timed=True):
    """Random numbers; a step's own observation has a `dt` that is of no use to anybody."""
    random = np.random.default_rng(seed)

    def numbers(*shape):
        return jnp.asarray(random.normal(size=(TIME, *shape)), jnp.float32)

    def observed():
        dt = jnp.asarray(random.integers(1, 6, TIME) * random.choice([1.0, 0.3]), jnp.float32)
        return fx.data.Timed(numbers(2), dt) if timed else numbers(2)

    terminated, truncated = (jnp.asarray(random.random(TIME) < 0.25) for _ in range(2))
    return fx.data.Rollout(
        observed(),
        jnp.asarray(random.integers(0, 3, TIME), jnp.int32),
        numbers(),
        terminated,
        truncated,
        observed(),
        numbers(),
        numbers(),
        jnp.where(terminated, 0.0, numbers()),
    )


def columns(rollout, discount):
    """Rewards, values, what follows a step with its discount in it, that discount, and ends."""
    r, v, n = (np.asarray(x, float) for x in (rollout.reward, rollout.value, rollout.next_value))
    left = float(discount) ** np.asarray(rollout.next_observation.dt, float)
    ends = np.asarray(rollout.done).copy()
    ends[-1] = True
    return r, v, n, left, ends


def compiled(primitive, *arguments, **options):
    call = jax.jit(lambda arguments, options: primitive.function(*arguments, **options))
    return call(arguments, options)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), fractions, fractions)
def test_gae(seed, discount, lambda_):
    rollout = trajectory(seed)
    r, v, n, left, ends = columns(rollout, discount)
    advantage = np.zeros(TIME + 1)
    for t in reversed(range(TIME)):
        later = 0.0 if ends[t] else advantage[t + 1]
        # The next row's value, where the episode goes on: the rollout's values are random.
        following = n[t] if ends[t] else v[t + 1]
        advantage[t] = r[t] + left[t] * following - v[t] + left[t] * lambda_ * later
    out = compiled(fx.gae, rollout, discount=discount, lambda_=lambda_)
    np.testing.assert_allclose(out.advantage, advantage[:-1], rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, 20]), fractions)
def test_n_step_returns(seed, n, discount):
    rollout = trajectory(seed)
    r, _, after, left, ends = columns(rollout, discount)
    target = np.zeros(TIME)
    for start in range(TIME):
        weight = 1.0
        for t in range(start, TIME):
            target[start] += weight * r[t]
            weight *= left[t]
            if ends[t] or t == start + n - 1:
                target[start] += weight * after[t]
                break
    out = fx.n_step_returns.function(rollout, n=n if n <= TIME else None, discount=discount)
    np.testing.assert_allclose(out.target, target, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), fractions, fractions)
def test_q_lambda_returns(seed, discount, lambda_):
    rollout = trajectory(seed)
    r, _, best, left, ends = columns(rollout, discount)
    target = np.zeros(TIME)
    for t in reversed(range(TIME)):
        later = best[t] if ends[t] else (1 - lambda_) * best[t] + lambda_ * target[t + 1]
        target[t] = r[t] + left[t] * later
    out = compiled(fx.q_lambda_returns, rollout, discount=discount, lambda_=lambda_)
    np.testing.assert_allclose(out.target, target, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), fractions, fractions)
def test_vtrace(seed, discount, lambda_):
    rollout = trajectory(seed)
    logits = jnp.array([0.3, -0.2, 1.0])
    ratio = np.exp(np.asarray(jax.nn.log_softmax(logits)[rollout.action] - rollout.log_prob))
    r, v, n, left, ends = columns(rollout, discount)
    error = np.zeros(TIME + 1)
    for t in reversed(range(TIME)):
        delta = min(1.0, ratio[t]) * (r[t] + left[t] * n[t] - v[t])
        error[t] = delta + (
            0.0 if ends[t] else left[t] * lambda_ * min(1.0, ratio[t]) * error[t + 1]
        )
    out = compiled(fx.vtrace, Fixed(logits), rollout, discount=discount, lambda_=lambda_)
    np.testing.assert_allclose(out.target, error[:-1] + v, rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, TIME]), fractions)
def test_td_target(seed, n, discount):
    rollout = trajectory(seed)
    data = jax.tree.map(lambda x: x[None], fx.data.Transitions.of(rollout))
    stage = fx.td_target(n=n, discount=discount)
    target = stage.update(AGENT, stage.init(AGENT, lambda: None, KEY), data, KEY).out.target
    best = np.asarray(
        jax.vmap(lambda x: AGENT.step(None, x, KEY)[1].q_values)(rollout.next_observation)
    ).max(-1)
    r, _, _, left, _ = columns(rollout, discount)
    expected = np.zeros(TIME - n + 1)
    for start in range(len(expected)):
        weight = 1.0
        for t in range(start, start + n):
            expected[start] += weight * r[t]
            weight *= left[t] * (not rollout.terminated[t])
            if rollout.done[t]:
                break
        expected[start] += weight * best[t]
    np.testing.assert_allclose(target[0], expected, rtol=1e-4, atol=1e-5)


def test_without_time_nothing_is_computed():
    rollout, discount = trajectory(0, timed=False), jnp.asarray(0.9)
    assert durations(rollout) is None
    assert discounts(rollout, discount) is discount


def test_time_passes_by_the_wrapped_environments_steps():
    """Through a rollout: with a reward of 1 a step and values of 0, what is left is the sum."""
    env = fx.envs.IrregularTime(fx.envs.mask_velocities("CartPole-v1"), max_steps=4)
    agent = fx.agents.gru_actor_critic(env, key=KEY, width=4)
    stage = fx.rollout(env, num_envs=2, num_steps=12)
    rollout = stage.update(agent, stage.init(agent, lambda: None, KEY), None, KEY).out
    dt = np.asarray(durations(rollout))
    np.testing.assert_array_equal(dt, rollout.reward)
    assert dt.min() >= 1.0
    assert dt.max() == 4.0
    np.testing.assert_allclose(discounts(rollout, 0.9), 0.9**dt, rtol=1e-5)


@pytest.mark.parametrize("discount", [0.0, 0.5])
def test_gradients_reach_the_discount(discount):
    rollout = trajectory(3)

    def total(discount):
        return fx.n_step_returns.function(rollout, n=2, discount=discount).target.sum()

    slope = jax.grad(total)(discount)
    assert np.isfinite(slope)
    if discount:
        difference = (total(discount + 1e-3) - total(discount - 1e-3)) / 2e-3
        np.testing.assert_allclose(slope, difference, rtol=1e-2)
