"""Planning against the linear-quadratic regulator, and the agent as a stage takes it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx
from lerax_fx.agents import action_bounds
from lerax_fx.nde import box_scaling
from lerax_fx.planning import Planner

KEY = jax.random.key(0)
BOX = fx.spaces.Box(-1.0, 1.0, (3,))
AGENT = fx.planning.planning_agent(
    (BOX, fx.spaces.Box(-2.0, 2.0, (2,))), key=KEY, horizon=4, num_samples=8
)
VELOCITY = np.array([[0.0, 1.0], [-0.5, -0.1]])  # a spring
PUSH = np.array([[0.0], [0.8]])
DT, HORIZON = 0.5, 6


def spring_reward(observation, action, next_observation):
    return -(jnp.sum(next_observation**2) + 0.1 * jnp.sum(action**2))


def on_a_spring():
    unbounded, actions = fx.spaces.Box(-jnp.inf, jnp.inf, (2,)), fx.spaces.Box(-5.0, 5.0, (1,))

    def field(driven):
        return VELOCITY @ driven[:2] + PUSH @ (5.0 * driven[2:])

    scaling, bounds = box_scaling("test", unbounded), action_bounds("test", actions)
    model = fx.nde.Dynamics(scaling, bounds, field, None, reward=spring_reward)
    return fx.planning.PlanningAgent(model, Planner(HORIZON, 512, 32, 30, 1.0, DT))


def regulated(state):
    """The first action of the best plan and its return: the Riccati recursion, on the map that
    a step of Heun's method makes of a linear equation.
    """
    step = VELOCITY * DT
    forward = np.eye(2) + step + step @ step / 2
    push = (np.eye(2) + step / 2) @ PUSH * DT
    cost = np.zeros((2, 2))
    for _ in range(HORIZON):
        ahead = cost + np.eye(2)
        gain = np.linalg.solve(0.1 + push.T @ ahead @ push, push.T @ ahead @ forward)
        cost = forward.T @ ahead @ (forward - push @ gain)
    return -gain @ state, -state @ cost @ state


@pytest.mark.quick("state1")
@pytest.mark.parametrize("state", [[1.0, 0.0], [-0.5, 1.0], [0.2, -0.7]])
def test_on_a_spring_it_acts_as_the_regulator_would(state):
    agent = on_a_spring()
    output = jax.jit(agent.step)(agent.initial_memory(), jnp.array(state), KEY)[1]
    action, best = regulated(np.array(state))
    np.testing.assert_allclose(output.distribution.mode(), action, atol=0.02)
    np.testing.assert_allclose(output.value, best, rtol=1e-3)


def test_a_plan_is_worth_the_discounted_sum_of_its_rewards():
    agent = fx.planning.planning_agent((BOX, BOX), key=KEY, discount=0.8, dt=0.5, termination=True)
    plan = jax.random.uniform(KEY, (5, 3), minval=-1.0)
    state = jnp.array([0.1, -0.2, 0.3])
    total, weight, here = 0.0, 1.0, state
    for unit in plan:
        step = agent.model.step(here, unit, 0.5)
        total += weight * float(step.reward)
        weight *= 0.8**0.5 / (1 + np.exp(float(step.termination)))
        here = step.state
    np.testing.assert_allclose(agent.predicted_return(state, plan), total, rtol=1e-4)


def test_the_plan_that_is_left_is_where_the_next_search_starts():
    memory, _ = AGENT.step(AGENT.initial_memory(), jnp.zeros(3), KEY)
    again, _ = AGENT.step(AGENT.initial_memory(), jnp.zeros(3), KEY)
    np.testing.assert_array_equal(memory.actions, again.actions)
    assert (memory.actions[-1] == memory.actions[-2]).all()
    other, _ = AGENT.step(AGENT.initial_memory(), jnp.zeros(3), jax.random.key(1))
    assert (other.actions != memory.actions).any()


def with_rewards(agent, value):
    weights = lambda agent: agent.model.reward_head.layers[-1].weight  # noqa: E731 -- for tree_at
    return eqx.tree_at(weights, agent, replace_fn=lambda weight: jnp.full_like(weight, value))


def exploding(scale):
    def field(driven):
        return jnp.exp(scale * driven[:3] + driven[3:4])

    return eqx.tree_at(lambda agent: agent.model.field, AGENT, field)


@pytest.mark.parametrize("agent", [with_rewards(AGENT, jnp.nan), exploding(1e3)])
def test_a_model_gone_wrong_gives_no_nan_to_act_on(agent):
    memory, output = agent.step(agent.initial_memory(), jnp.ones(3), KEY)
    distribution, value = output.distribution, output.value
    assert np.isfinite(distribution.mode()).all()
    assert np.isfinite(memory.actions).all()
    assert not np.isfinite(value)


def test_observations_may_come_with_their_time():
    plain = AGENT.step(AGENT.initial_memory(), jnp.ones(3), KEY)
    timed = AGENT.step(AGENT.initial_memory(), fx.data.Timed(jnp.ones(3), jnp.array(0.3)), KEY)
    np.testing.assert_array_equal(plain[1].distribution.mode(), timed[1].distribution.mode())


def test_actions_are_within_their_bounds():
    observations = 10 * jax.random.normal(KEY, (20, 3))
    resets = jnp.arange(20) % 7 == 0
    _, outputs = AGENT.unroll(AGENT.initial_memory(), observations, resets, KEY)
    actions = jax.vmap(lambda d: d.mode())(outputs.distribution)
    assert (abs(actions) <= 2).all()


def test_unroll_is_step_after_step():
    observations = jax.random.normal(KEY, (5, 3))
    resets = jnp.array([False, False, True, False, False])
    memory, found = AGENT.initial_memory(), []
    for t, (observation, reset) in enumerate(zip(observations, resets, strict=True)):
        memory = AGENT.initial_memory() if reset else memory
        memory, output = AGENT.step(memory, observation, jax.random.fold_in(KEY, t))
        found.append((output.distribution.mode(), output.value))
    last, outputs = AGENT.unroll(AGENT.initial_memory(), observations, resets, KEY)
    np.testing.assert_allclose(last.actions, memory.actions, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs.value, [value for _, value in found], rtol=1e-4, atol=1e-6)
    actions = jax.vmap(lambda d: d.mode())(outputs.distribution)
    np.testing.assert_allclose(actions, [action for action, _ in found], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_it_acts_and_is_evaluated_as_any_agent_is():
    agent = fx.planning.planning_agent(
        "Pendulum-v1", key=KEY, horizon=3, num_samples=8, num_elites=2
    )
    collect = fx.rollout("Pendulum-v1", num_envs=2, num_steps=3, explore=fx.gaussian_noise(0.1))
    learn = fx.minimize(fx.losses.dynamics_loss(), optax.adam(1e-3), part="model")
    stage = fx.replay(learn, capacity=64, batch_size=4, length=2, updates_per_step=2, memory=False)
    trained, metrics = fx.anakin_loop(fx.chain(collect, stage), 4)(agent, KEY)
    assert np.isfinite(metrics["minimize/loss"][1:]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained))
    evaluation = fx.evaluate("Pendulum-v1", trained, KEY, num_episodes=2, max_steps=3)
    assert np.isfinite(evaluation.episode_return).all()


@pytest.mark.parametrize(
    ("spaces", "options", "error", "message"),
    [
        ("CartPole-v1", {}, fx.WiringError, "planning_agent: actions: wanted a Box of floats"),
        (
            (fx.spaces.Discrete(3), BOX),
            {},
            fx.WiringError,
            "planning_agent: observations: wanted a Box",
        ),
        ((BOX, BOX), {"horizon": 0}, fx.HyperparameterError, "planning_agent: horizon"),
        ((BOX, BOX), {"num_elites": 99}, fx.HyperparameterError, "planning_agent: num_elites"),
        ((BOX, BOX), {"discount": 1.5}, fx.HyperparameterError, "planning_agent: discount"),
        (
            (BOX, BOX),
            {"dt": float("inf")},
            fx.HyperparameterError,
            "planning_agent: dt: wanted a finite Python number.*make an agent for each",
        ),
        ((BOX, BOX), {"dt": 0.0}, fx.HyperparameterError, "planning_agent: dt"),
        ((BOX, BOX), {"latent": 0}, fx.HyperparameterError, "planning_agent: latent"),
        # With the type checks on, they are the first to say so.
        ((BOX, BOX), {"reward": "x"}, (fx.HyperparameterError, TypeError), "reward"),
        ((BOX, BOX), {"horizn": 3}, fx.HyperparameterError, "horizn"),
    ],
)
def test_what_cannot_be_planned_is_refused(spaces, options, error, message):
    with pytest.raises(error, match=message):
        fx.planning.planning_agent(spaces, key=KEY, **options)
