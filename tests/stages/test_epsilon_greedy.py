"""How often which action is taken."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import lerax_fx as fx

KEY = jax.random.key(0)
GREEDY = fx.agents.greedy_output(jnp.array([0.0, 2.0, 1.0]))


@pytest.mark.quick("0.3")
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_actions_have_their_probabilities(epsilon):
    distribution = fx.epsilon_greedy(epsilon)(GREEDY, jnp.array(0))
    actions = distribution.sample(seed=KEY, sample_shape=20_000)
    wanted = np.array([epsilon / 3, 1 - epsilon * 2 / 3, epsilon / 3])
    counts = np.bincount(actions, minlength=3)
    possible = wanted > 0
    assert counts[~possible].sum() == 0
    if possible.sum() > 1:
        assert stats.chisquare(counts[possible], 20_000 * wanted[possible]).pvalue > 1e-3


def test_a_schedule_counts_environment_steps():
    explore = fx.epsilon_greedy(optax.linear_schedule(1.0, 0.0, 100))
    for steps, epsilon in [(0, 1.0), (25, 0.75), (100, 0.0), (1000, 0.0)]:
        distribution = explore(GREEDY, jnp.array(steps))
        np.testing.assert_allclose(distribution.probs[0], epsilon / 3, atol=1e-6)


def test_a_rollout_acts_by_it():
    """By all environments' steps so far: here one update of 4 x 8, and then never again."""
    schedule = optax.piecewise_constant_schedule(1.0, {32: 0.0})
    agent = fx.q_agent("CartPole-v1", key=KEY)
    stage = fx.rollout("CartPole-v1", num_envs=4, num_steps=8, explore=fx.epsilon_greedy(schedule))

    def greedy(rollout):
        step = jax.vmap(jax.vmap(lambda observation: agent.step(None, observation, KEY)[1]))
        return step(rollout.observation).q_values.argmax(-1) == rollout.action

    @jax.jit
    def update(state):
        step = stage.update(agent, state, None, KEY)
        return step.state, step.out.log_prob, greedy(step.out)

    start = jax.jit(lambda key: stage.init(agent, lambda: None, key))(KEY)
    state, log_prob, first_greedy = update(start)
    assert not first_greedy.all()
    np.testing.assert_allclose(log_prob, np.log(0.5), rtol=1e-5)
    assert update(state)[2].all()


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, float("nan")])
def test_a_probability_outside_is_refused(epsilon):
    with pytest.raises(fx.HyperparameterError, match="epsilon_greedy: epsilon"):
        fx.epsilon_greedy(epsilon)


def test_what_does_not_explore_is_refused():
    with pytest.raises((fx.WiringError, TypeError), match="explore"):
        fx.rollout("CartPole-v1", num_envs=1, num_steps=1, explore=0.1)


def test_an_agent_without_action_values_is_refused():
    agent = fx.actor_critic("CartPole-v1", key=KEY)
    stage = fx.rollout("CartPole-v1", num_envs=1, num_steps=1, explore=fx.epsilon_greedy(0.1))
    with pytest.raises(fx.WiringError, match=r"epsilon_greedy: agent: wanted.*fx\.q_agent"):
        fx.anakin_loop(fx.chain(stage), 1)(agent, KEY)
