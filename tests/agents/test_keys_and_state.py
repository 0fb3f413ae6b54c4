"""Agents that draw with their keys, and agents that keep moving averages."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sides import Sides

import lerax_fx as fx
from lerax_fx.agents import BatchNorm, NoisyLinear

KEY = jax.random.key(0)
LENGTH = 4


class NearSides(Sides):
    def observation(self, state, *, key):
        return super().observation(state, key=key) - 1000.0


ENV = fx.envs.TimeLimit(NearSides(), LENGTH)
FAR = fx.envs.TimeLimit(Sides(), LENGTH)


def dqn(env, target, loss, *, explore=None, statistics=False):
    learn = fx.chain(target, fx.minimize(loss, fx.optimizer(optax.adam, 1e-2)))
    stages = [fx.rollout(env, num_envs=4, num_steps=4, explore=explore)]
    stages += [fx.update_statistics()] if statistics else []
    replay = fx.replay(learn, capacity=512, batch_size=32, warmup=32, updates_per_step=4)
    return fx.chain(*stages, replay)


def greedy_returns(env, agent):
    return np.asarray(fx.evaluate(env, agent, KEY, num_episodes=8).episode_return)


def test_factorised_noise_has_the_papers_mean_and_variance():
    layer = NoisyLinear(3, 2, key=KEY, scale=0.6)
    assert float(jnp.abs(layer.weight).max()) <= 1 / np.sqrt(3)
    np.testing.assert_allclose(layer.weight_scale, np.full((3, 2), 0.6 / np.sqrt(3)), rtol=1e-6)
    drawn = jax.jit(jax.vmap(layer.draw))(jax.random.split(KEY, 20_000))
    # Independent numbers f(e): mean 0, variance E|e| = sqrt(2 / pi); of products, its square.
    spread = np.sqrt(2 / np.pi)
    deviation = 0.6 / np.sqrt(3)
    np.testing.assert_allclose(drawn.weight.mean(0), layer.weight, atol=0.02)
    np.testing.assert_allclose(drawn.weight.std(0), np.full((3, 2), deviation * spread), rtol=0.05)
    np.testing.assert_allclose(drawn.bias.std(0), np.full(2, deviation * spread**0.5), rtol=0.05)
    # Of one draw the noise is an outer product, and the bias has that of the outputs.
    noise = (np.asarray(drawn.weight[0]) - layer.weight) / layer.weight_scale
    assert np.linalg.matrix_rank(noise, tol=1e-4) == 1
    x = jnp.arange(3.0)
    np.testing.assert_allclose(layer(x), x @ layer.weight + layer.bias, rtol=1e-6)


def test_one_draw_a_step_in_acting_and_one_a_batch_in_losses():
    agent = fx.q_agent(ENV, key=KEY, widths=(4,), noisy=True)
    fx.check_agent(agent, ENV)
    same = jnp.ones((6, 1))
    q_values = agent.unroll(None, same, jnp.zeros(6, bool), KEY)[1].q_values
    np.testing.assert_array_equal(q_values, jnp.broadcast_to(q_values[:1], q_values.shape))
    steps = [agent.step(None, same[0], jax.random.fold_in(KEY, i))[1].q_values for i in range(2)]
    assert not np.allclose(*steps)


@pytest.mark.quick("True")
@pytest.mark.parametrize("noisy", [False, True])
def test_the_target_network_draws_for_itself(noisy):
    # Of one action, at one place: the target is the value that is learnt, but for the draws.
    spaces = fx.spaces.Box(-1.0, 1.0, (1,)), fx.spaces.Discrete(1)
    agent = fx.q_agent(spaces, key=KEY, widths=(4,), noisy=noisy)
    zeros, seen = jnp.zeros((2, 1)), jnp.ones((2, 1, 1))
    action, bools = zeros.astype(jnp.int32), zeros.astype(bool)
    data = fx.data.Transitions(seen, action, zeros, bools, bools, seen)
    learn = fx.chain(fx.td_target(discount=1.0), fx.minimize(fx.q_loss(), optax.sgd(1.0)))
    state = learn.init(agent, lambda: data, KEY)
    step = jax.jit(lambda: learn.update(agent, state, data, KEY))()
    assert (float(step.metrics["minimize/loss"]) > 1e-6) == noisy


@pytest.mark.slow
@pytest.mark.parametrize("family", ["q", "c51"])
def test_a_noisy_network_explores_by_itself_and_learns(family):
    if family == "q":
        agent = fx.q_agent(ENV, key=KEY, widths=(8,), noisy=True)
        algorithm = dqn(ENV, fx.td_target(discount=0.0), fx.q_loss())
    else:
        agent = fx.categorical_q_agent(
            ENV, key=KEY, widths=(8,), num_atoms=5, low=-1.0, high=2.0, noisy=True
        )
        algorithm = dqn(ENV, fx.distributional_td_target(discount=0.0), fx.c51_loss())
    trained, _ = fx.anakin_loop(algorithm, 80)(agent, KEY)
    assert greedy_returns(ENV, trained).mean() >= LENGTH - 0.5
    scales = [layer.weight_scale for layer in agent.network.layers]
    moved = [layer.weight_scale for layer in trained.network.layers]
    assert all(bool(jnp.any(a != b)) for a, b in zip(scales, moved, strict=True))


class DropoutQNetwork(fx.agents.AbstractFeedforward):
    first: eqx.nn.Linear
    last: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, key):
        first, last = jax.random.split(key)
        self.first = eqx.nn.Linear(1, 32, key=first)
        self.last = eqx.nn.Linear(32, 2, key=last)
        self.dropout = eqx.nn.Dropout(0.2)

    def output(self, observation, key):
        hidden = self.dropout(jax.nn.relu(self.first(observation)), key=key)
        return fx.agents.greedy_output(self.last(hidden))


@pytest.mark.slow
def test_dropout_in_a_q_function():
    agent = DropoutQNetwork(KEY)
    fx.check_agent(agent, ENV)
    algorithm = dqn(ENV, fx.td_target(discount=0.0), fx.q_loss(), explore=fx.epsilon_greedy(0.3))
    trained, _ = fx.anakin_loop(algorithm, 80)(agent, KEY)
    assert trained.dropout.p == 0.2
    assert greedy_returns(ENV, trained).mean() >= LENGTH - 0.5


class BatchNormQNetwork(fx.agents.AbstractFeedforward):
    """Batch normalisation of the inputs and of the hidden layer."""

    inputs: BatchNorm
    first: eqx.nn.Linear
    hidden: BatchNorm
    last: eqx.nn.Linear

    def __init__(self, key):
        first, last = jax.random.split(key)
        self.inputs = BatchNorm(1, momentum=0.9)
        self.first = eqx.nn.Linear(1, 16, key=first)
        self.hidden = BatchNorm(16, momentum=0.9)
        self.last = eqx.nn.Linear(16, 2, key=last)

    def output(self, observation, key):
        hidden = self.hidden(self.first(self.inputs(observation)))
        return fx.agents.greedy_output(self.last(jax.nn.relu(hidden)))

    def update_statistics(self, observations):
        inputs = self.inputs.update(observations)
        hidden = self.hidden.update(jax.vmap(lambda x: self.first(inputs(x)))(observations))
        return eqx.tree_at(lambda agent: (agent.inputs, agent.hidden), self, (inputs, hidden))


def test_batch_norm_is_by_moving_averages():
    norm = BatchNorm(1, momentum=0.75, epsilon=0.0)
    batch = jnp.array([[2.0], [6.0]])
    norm = norm.update(batch).update(batch)
    mean, variance = 4.0 * (1 - 0.75**2), 4.0 + (1.0 - 4.0) * 0.75**2
    np.testing.assert_allclose(norm.averages.mean, [mean], rtol=1e-6)
    np.testing.assert_allclose(norm.averages.variance, [variance], rtol=1e-6)
    np.testing.assert_allclose(norm(batch[1]), [(6.0 - mean) / np.sqrt(variance)], rtol=1e-6)
    for bad in ({"momentum": 2.0}, {"epsilon": -1.0}):
        with pytest.raises(fx.HyperparameterError, match=r"BatchNorm: (momentum|epsilon)"):
            BatchNorm(1, **bad)


@pytest.mark.slow
def test_a_batch_norm_agent_learns():
    agent = BatchNormQNetwork(KEY)
    fx.check_agent(agent, FAR)
    target = fx.td_target(discount=0.5, update=fx.polyak(0.1))
    options = {"explore": fx.epsilon_greedy(0.3), "statistics": True}
    trained, _ = fx.anakin_loop(dqn(FAR, target, fx.q_loss(), **options), 120)(agent, KEY)
    np.testing.assert_allclose(trained.inputs.averages.mean, [1000.0], atol=0.5)
    assert bool(jnp.any(trained.hidden.averages.mean != 0.0))
    np.testing.assert_array_equal(greedy_returns(FAR, trained), np.full(8, LENGTH))


class Growing(BatchNormQNetwork):
    def update_statistics(self, observations):
        return eqx.tree_at(lambda agent: agent.inputs.scale, self, jnp.ones(2))


def test_check_agent_looks_at_updates_of_statistics():
    with pytest.raises(fx.WiringError, match=r"update_statistics.*inputs\.scale"):
        fx.check_agent(Growing(KEY), FAR)
