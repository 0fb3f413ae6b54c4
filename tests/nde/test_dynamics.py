"""Models in continuous time: their steps, and their loss against numpy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx
from lerax_fx.nde import box_scaling

KEY = jax.random.key(0)
SEEN = fx.spaces.Box(np.array([-1.0, -8.0, -np.inf]), np.array([3.0, 8.0, 1.0]))
DONE = fx.spaces.Box(-2.0, 2.0, (2,))
AGENT = fx.planning.planning_agent((SEEN, DONE), key=KEY, width=8)
WITH_END = fx.planning.planning_agent((SEEN, DONE), key=KEY, width=8, termination=True)
BATCH, TIME = 3, 5


class Exploding(eqx.Module):
    """Beyond 0.1, larger than any float."""

    scale: jax.Array

    def __call__(self, driven):
        return jnp.exp(self.scale * driven[:3])


def transitions(seed, ends=0.3):
    rng = np.random.default_rng(seed)
    ended = rng.random((BATCH, TIME)) < ends
    terminated = ended & (rng.random((BATCH, TIME)) < 0.5)
    fields = (
        rng.normal(size=(BATCH, TIME, 3)).astype(np.float32),
        (3 * rng.normal(size=(BATCH, TIME, 2))).astype(np.float32),
        rng.normal(size=(BATCH, TIME)).astype(np.float32),
        terminated,
        ended & ~terminated,
        rng.normal(size=(BATCH, TIME, 3)).astype(np.float32),
    )
    return fx.data.Transitions(*map(jnp.asarray, fields))


def network(mlp, x):
    for layer in mlp.layers[:-1]:
        x = np.tanh(x @ np.asarray(layer.weight, float) + np.asarray(layer.bias, float))
    return x @ np.asarray(mlp.layers[-1].weight, float) + np.asarray(mlp.layers[-1].bias, float)


def scaled(observation):
    """The last number has no lower bound, and stays as it is."""
    low, high = np.array([-1.0, -8.0, -1.0]), np.array([3.0, 8.0, 1.0])
    return (np.asarray(observation, float) - (low + high) / 2) / ((high - low) / 2)


def by_hand(agent, data):
    """One loop, one step at a time: the three errors of each step."""
    model, errors = agent.model, np.zeros((3, BATCH, TIME))
    for b in range(BATCH):
        for t in range(TIME):
            if t == 0 or data.done[b, t - 1]:
                state = scaled(data.observation[b, t])
            drive = np.clip(np.asarray(data.action[b, t], float) / 2, -1, 1)
            first = network(model.field, np.append(state, drive))
            second = network(model.field, np.append(state + first, drive))
            reward = network(model.reward_head, np.append(state, drive))[0]
            state = state + (first + second) / 2
            errors[0, b, t] = np.sum((state - scaled(data.next_observation[b, t])) ** 2) / 2
            errors[1, b, t] = (reward - float(data.reward[b, t])) ** 2 / 2
            if model.termination_head is not None:
                odds = network(model.termination_head, np.append(state, drive))[0]
                ends = 1 / (1 + np.exp(-odds))
                errors[2, b, t] = -np.log(ends if data.terminated[b, t] else 1 - ends)
    return errors.mean((1, 2))


@pytest.mark.quick("0-", "1-with an end")
@pytest.mark.parametrize("agent", [AGENT, WITH_END], ids=["", "with an end"])
@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_that_by_hand(agent, seed):
    data = transitions(seed)
    loss, metrics = fx.losses.dynamics_loss(reward_weight=0.5, termination_weight=2.0)(
        agent, data, KEY
    )
    observation, reward, termination = by_hand(agent, data)
    np.testing.assert_allclose(metrics["observation_error"], observation, rtol=1e-4)
    np.testing.assert_allclose(metrics["reward_error"], reward, rtol=1e-4)
    np.testing.assert_allclose(metrics["termination_error"], termination, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(loss, observation + reward / 2 + 2 * termination, rtol=1e-4)


def test_a_time_limit_is_no_end():
    data, on = transitions(0, ends=0.0), jnp.ones((BATCH, TIME), bool)
    cut = eqx.tree_at(lambda data: data.truncated, data, on)
    over = eqx.tree_at(lambda data: data.terminated, data, on)
    metrics = [fx.losses.dynamics_loss()(WITH_END, data, KEY)[1] for data in (cut, over)]
    assert metrics[0]["observation_error"] == metrics[1]["observation_error"]
    assert metrics[0]["termination_error"] != metrics[1]["termination_error"]


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences():
    data = transitions(1)
    with jax.enable_x64():
        agent, data = jax.tree.map(
            lambda x: x.astype(float) if eqx.is_inexact_array(x) else x, (WITH_END, data)
        )
        trained, fixed = eqx.partition(agent, eqx.is_inexact_array)

        def loss(trained):
            evaluated = fx.losses.dynamics_loss()(eqx.combine(trained, fixed), data, KEY)[1]
            # What rewards and ends say of states is held constant: by each network's own term.
            return evaluated["observation_error"]

        gradient = jax.grad(loss)(trained).model.field
        direction = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size)).reshape(x.shape), gradient)

        def moved(size):
            move = jax.tree.map(lambda x, d: x + size * d, trained.model.field, direction)
            return loss(eqx.tree_at(lambda agent: agent.model.field, trained, move))

        slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)))
        np.testing.assert_allclose(slope, (moved(1e-5) - moved(-1e-5)) / 2e-5, rtol=1e-6)


def test_only_observations_teach_how_states_move():
    data = transitions(2)

    def reward_error(agent):
        metrics = fx.losses.dynamics_loss()(agent, data, KEY)[1]
        return metrics["reward_error"] + metrics["termination_error"]

    gradient = jax.grad(reward_error)(WITH_END).model
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient.field))
    assert all(
        leaf.any() for leaf in jax.tree.leaves((gradient.reward_head, gradient.termination_head))
    )


def test_time_that_passed_is_time_that_is_predicted():
    data = transitions(3)
    times = jax.random.uniform(KEY, (BATCH, TIME))
    timed = fx.data.Transitions(
        fx.data.Timed(data.observation, jnp.zeros((BATCH, TIME))),
        data.action,
        data.reward,
        data.terminated,
        data.truncated,
        fx.data.Timed(data.next_observation, times),
    )
    first = jax.tree.map(lambda x: x[0, :1], timed)
    _, metrics = fx.losses.dynamics_loss()(AGENT, first, KEY)
    state = AGENT.model.encode(data.observation[0, 0])
    step = AGENT.model.step(state, data.action[0, 0], times[0, 0])
    error = np.asarray(step.state) - scaled(data.next_observation[0, 0])
    np.testing.assert_allclose(metrics["observation_error"], np.sum(error**2) / 2, rtol=1e-4)
    error = step.reward - data.reward[0, 0]
    np.testing.assert_allclose(metrics["reward_error"], error**2 / 2, rtol=1e-4)


@pytest.mark.slow
def test_a_field_that_explodes_leaves_no_nan_in_what_is_learnt():
    agent = eqx.tree_at(lambda agent: agent.model.field, AGENT, Exploding(jnp.array(1e3)))
    data = transitions(4)
    learn = fx.minimize(fx.losses.dynamics_loss(), optax.sgd(1e-3))
    step = learn.update(agent, learn.init(agent, lambda: None, KEY), data, KEY)
    assert step.metrics["failed"] > 0
    assert fx.losses.dynamics_loss()(AGENT, data, KEY)[1]["failed"] == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(step.agent))


def test_two_half_steps_are_about_one():
    """Of second order: a quarter of the difference for half the step."""

    def halved(dt):
        state, action = jnp.array([0.3, -0.2, 0.5]), jnp.array([0.5, -1.0])
        agent = jax.tree.map(lambda x: 2 * x, AGENT.model)
        once = agent.step(state, action, dt).state
        half = agent.step(state, action, dt / 2).state
        return np.linalg.norm(once - agent.step(half, action, dt / 2).state)

    assert 6 < halved(0.4) / halved(0.2) < 10


def test_in_no_time_nothing_happens():
    state = jnp.array([0.3, -0.2, 0.5])
    step = AGENT.model.step(state, jnp.ones(2), 0.0)
    np.testing.assert_array_equal(step.state, state)
    assert step.reward == 0.0


def test_scaling_goes_back_and_forth():
    scaling = box_scaling("test", SEEN)
    observation = jnp.array([2.0, -4.0, 7.0])
    np.testing.assert_allclose(scaling.scale(observation), [0.5, -0.5, 7.0])
    np.testing.assert_allclose(scaling.unscale(scaling.scale(observation)), observation)


@pytest.mark.slow
@pytest.mark.parametrize("latent", [None, 5])
def test_it_learns_a_rotation(latent):
    """And a latent state serves as well, whatever its size."""
    spaces = fx.spaces.Box(-1.0, 1.0, (2,)), fx.spaces.Box(-1.0, 1.0, (1,))
    agent = fx.planning.planning_agent(spaces, key=KEY, width=16, latent=latent)
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, (64, 1)) + 0.3 * np.arange(5)
    seen = np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)
    none, action = np.zeros((64, 4), bool), np.zeros((64, 4, 1), np.float32)
    reward = seen[:, :-1, 0]
    data = fx.data.Transitions(
        *map(jnp.asarray, (seen[:, :-1], action, reward, none, none, seen[:, 1:]))
    )
    learn = fx.minimize(fx.losses.dynamics_loss(), optax.adam(1e-2))

    def update(carry, _):
        step = learn.update(*carry, data, KEY)
        return (step.agent, step.state), step.metrics

    run = jax.jit(
        lambda: jax.lax.scan(update, (agent, learn.init(agent, lambda: None, KEY)), None, 300)[1]
    )
    metrics = run()
    assert metrics["observation_error"][-1] < 0.01 * metrics["observation_error"][0]
    assert metrics["reward_error"][-1] < 0.05 * metrics["reward_error"][0]


def test_an_agent_without_a_model_is_refused():
    agent = fx.agents.mlp_actor_critic((SEEN, DONE), key=KEY)
    with pytest.raises(fx.WiringError, match="dynamics_loss: agent: wanted an agent with a model"):
        fx.losses.dynamics_loss()(agent, transitions(0), KEY)
