"""How far actions are carried from where the agent would have them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import lerax_fx as fx
from lerax_fx.agents import ActionBounds, DeterministicAction

KEY = jax.random.key(0)
BOUNDS = ActionBounds((2,), (-2.0, 0.0), (2.0, 1.0))
WHERE = np.array([1.0, 0.5], np.float32)
CERTAIN = fx.agents.Output(DeterministicAction(jnp.asarray(WHERE), BOUNDS), jnp.zeros(()))
HALF = np.array([2.0, 0.5])


def test_actions_are_normal_in_units_of_half_the_width_and_clipped():
    distribution = fx.gaussian_noise(0.5)(CERTAIN, jnp.array(0))
    actions = np.asarray(distribution.sample(seed=KEY, sample_shape=5_000))
    for i, (low, high) in enumerate([(-2.0, 2.0), (0.0, 1.0)]):
        wanted = stats.norm(WHERE[i], 0.5 * HALF[i])
        drawn = actions[:, i]
        within = drawn[(drawn > low) & (drawn < high)]
        assert drawn.min() >= low
        assert drawn.max() <= high
        assert (drawn == high).mean() == pytest.approx(wanted.sf(high), abs=0.02)
        ends = (np.array([low, high]) - WHERE[i]) / (0.5 * HALF[i])
        truncated = stats.truncnorm(*ends, WHERE[i], 0.5 * HALF[i])
        assert stats.kstest(within, truncated.cdf).pvalue > 1e-3


def test_the_log_probability_is_a_density_within_and_a_mass_on_the_bounds():
    distribution = fx.gaussian_noise(0.5)(CERTAIN, jnp.array(0))
    first, second = (stats.norm(WHERE[i], 0.5 * HALF[i]) for i in range(2))
    wanted = first.logpdf(0.3) + second.logpdf(0.7)
    np.testing.assert_allclose(distribution.log_prob(jnp.array([0.3, 0.7])), wanted, rtol=1e-4)
    wanted = first.logsf(2.0) + second.logcdf(0.0)
    np.testing.assert_allclose(distribution.log_prob(jnp.array([2.0, 0.0])), wanted, rtol=1e-4)


def test_a_schedule_counts_environment_steps():
    explore = fx.gaussian_noise(optax.linear_schedule(1.0, 0.1, 100))
    for steps, scale in [(0, 1.0), (50, 0.55), (1000, 0.1)]:
        wanted = stats.norm(WHERE, scale * HALF).logpdf(WHERE).sum()
        distribution = explore(CERTAIN, jnp.array(steps))
        np.testing.assert_allclose(distribution.log_prob(jnp.asarray(WHERE)), wanted, rtol=1e-4)


@pytest.mark.slow
def test_a_rollout_acts_by_it():
    agent = fx.deterministic_actor_critic("Pendulum-v1", key=KEY)
    stage = fx.rollout("Pendulum-v1", num_envs=4, num_steps=64, explore=fx.gaussian_noise(0.1))

    @jax.jit
    def collect(key):
        rollout = stage.update(agent, stage.init(agent, lambda: None, key), None, key).out
        meant = jax.vmap(jax.vmap(lambda o: agent.policy(o, key).mode()))(rollout.observation)
        return rollout, rollout.action - meant

    rollout, noise = (jax.tree.map(np.asarray, x) for x in collect(KEY))
    assert noise.std() == pytest.approx(0.2, rel=0.15)
    assert len(np.unique(noise)) == noise.size
    wanted = stats.norm(0, 0.2).logpdf(noise[..., 0])
    np.testing.assert_allclose(rollout.log_prob, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scale", [0.0, -0.1, float("nan")])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(fx.HyperparameterError, match="gaussian_noise: scale"):
        fx.gaussian_noise(scale)


def test_an_agent_that_draws_its_actions_is_refused():
    agent = fx.actor_critic("Pendulum-v1", key=KEY)
    stage = fx.rollout("Pendulum-v1", num_envs=1, num_steps=1, explore=fx.gaussian_noise(0.1))
    with pytest.raises(fx.WiringError, match=r"gaussian_noise: wanted.*deterministic"):
        fx.anakin_loop(fx.chain(stage), 1)(agent, KEY)
