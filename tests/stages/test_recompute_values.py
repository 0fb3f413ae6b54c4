"""Advantages estimated anew, in each epoch or minibatch; and where they cannot be."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx

KEY = jax.random.key(0)
ENV = fx.envs.TimeLimit(fx.make("CartPole-v1"), 11)
MAKERS = {"mlp": fx.actor_critic, "gru": fx.agents.gru_actor_critic}
SGD = optax.sgd(0.1)


def make_agent(kind, seed=0):
    return MAKERS[kind](ENV, key=jax.random.key(seed), width=8)


def collect(agent, num_envs=4, num_steps=16):
    stage = fx.rollout(ENV, num_envs=num_envs, num_steps=num_steps)

    @jax.jit
    def run(agent):
        # The second rollout begins within episodes.
        step = stage.update(agent, stage.init(agent, lambda: None, KEY), None, KEY)
        return stage.update(agent, step.state, None, KEY).out

    return run(agent)


@pytest.fixture(scope="module", params=MAKERS)
def case(request):
    """A rollout of one agent, and another agent."""
    rollout = collect(make_agent(request.param))
    assert bool(rollout.terminated.any())
    assert bool(rollout.truncated[:, :-1].any())
    return rollout, make_agent(request.param, seed=1)


def brute_values(agent, rollout):
    """A step at a time, in Python."""
    done, rollout = np.asarray(rollout.done), jax.tree.map(np.asarray, rollout)
    value, next_value = np.zeros(rollout.reward.shape), np.zeros(rollout.reward.shape)

    @jax.jit
    def step(memory, observation):
        memory, output = agent.step(memory, observation, KEY)
        return memory, output.value

    for i in range(len(value)):
        memory = jax.tree.map(lambda x, i=i: x[i], rollout.memory)
        for t in range(value.shape[1]):
            memory, value[i, t] = step(memory, rollout.observation[i, t])
            if not rollout.terminated[i, t]:
                next_value[i, t] = step(memory, rollout.next_observation[i, t])[1]
            if done[i, t]:
                memory = agent.initial_memory()
    return value, next_value


def test_values_are_those_of_the_agent_as_it_is_now(case):
    rollout, agent = case
    stage = fx.recompute_values()
    out = jax.jit(lambda agent, rollout: stage.update(agent, (), rollout, KEY).out)(agent, rollout)
    value, next_value = brute_values(agent, rollout)
    np.testing.assert_allclose(out.value, value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.next_value, next_value, rtol=1e-4, atol=1e-5)
    assert not np.allclose(out.value, rollout.value)
    same = eqx.tree_at(lambda r: (r.value, r.next_value), out, (rollout.value, rollout.next_value))
    assert eqx.tree_equal(same, rollout)


def test_the_agent_that_acted_has_the_values_that_it_had(case):
    rollout, _ = case
    agent = make_agent("gru" if jax.tree.leaves(rollout.memory) else "mlp")
    out = jax.jit(fx.recompute_values.function)(agent, rollout, KEY)
    np.testing.assert_allclose(out.value, rollout.value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out.next_value, rollout.next_value, rtol=1e-5, atol=1e-6)


def test_advantages_are_estimated_anew_in_each_epoch(case):
    rollout, agent = case
    loss = fx.policy_gradient() + fx.value_loss()
    learn = fx.minibatch(fx.minimize(loss, SGD), num_epochs=1, num_minibatches=1)
    stage = fx.repeat(2, fx.chain(fx.recompute_values(), fx.gae(discount=0.9, lambda_=0.8), learn))
    state = stage.init(agent, lambda: None, KEY)
    ours = jax.jit(lambda a, r: stage.update(a, state, r, KEY).agent)(agent, rollout)

    gradient = jax.jit(jax.grad(lambda agent, data: loss(agent, data, KEY)[0]))
    for _ in range(2):
        value, next_value = brute_values(agent, rollout)
        reward, done = np.asarray(rollout.reward), np.asarray(rollout.done)
        advantage = np.zeros_like(value)
        for i in range(len(value)):
            later = 0.0
            for t in reversed(range(value.shape[1])):
                delta = reward[i, t] + 0.9 * next_value[i, t] - value[i, t]
                later = delta + (0.0 if done[i, t] else 0.9 * 0.8 * later)
                advantage[i, t] = later
        arrays = (jnp.asarray(x, jnp.float32) for x in (advantage, advantage + value))
        change = gradient(agent, fx.data.Estimates(rollout, *arrays))
        agent = jax.tree.map(lambda a, g: a - 0.1 * g, agent, change)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(agent), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_minibatches_of_whole_trajectories():
    agent = make_agent("mlp")
    rollout = collect(agent)
    learn = fx.chain(fx.recompute_values(), fx.gae(), fx.minimize(fx.value_loss(), SGD))

    def trained(stage):
        state = stage.init(agent, lambda: None, KEY)
        return jax.jit(lambda rollout: stage.update(agent, state, rollout, KEY).agent)(rollout)

    whole = fx.minibatch(learn, num_epochs=1, num_minibatches=1, whole_trajectories=True)
    for a, b in zip(*map(jax.tree.leaves, (trained(whole), trained(learn))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    @fx.transform
    def shaped(data: fx.data.Rollout) -> fx.data.Rollout:
        assert data.reward.shape == (2, 16)
        assert data.observation.shape == (2, 16, 4)
        return data

    halves = fx.minibatch(shaped(), num_epochs=1, num_minibatches=2, whole_trajectories=True)
    _trace(halves, agent, rollout)
    thirds = fx.minibatch(shaped(), num_epochs=1, num_minibatches=3, whole_trajectories=True)
    with pytest.raises(fx.WiringError, match="divisor of the 4 rows"):
        _trace(thirds, agent, rollout)


@fx.transform
def mine(data: fx.data.Rollout) -> fx.data.Estimates:
    return fx.gae.function(data)


def minibatches(inner, **options):
    return fx.minibatch(inner, num_epochs=2, num_minibatches=2, **options)


WITHIN = {
    "gae": fx.gae(),
    "n_step_returns": fx.n_step_returns(n=None),
    "vtrace": fx.vtrace(),
    "q_lambda_returns": fx.q_lambda_returns(),
    "gae in a chain": fx.chain(fx.identity(), estimate=fx.chain(fx.identity(), fx.gae())),
    "gae in repeat": fx.repeat(2, fx.gae()),
    "gae in every": fx.every(2, fx.gae()),
    "gae in minibatch": minibatches(fx.gae(), whole_trajectories=True),
    "gae in one's own": mine(),
}


@pytest.mark.quick("gae", "gae in repeat")
@pytest.mark.parametrize("name", WITHIN)
def test_single_steps_are_no_trajectories(name):
    agent, rollout = make_agent("mlp"), _shapes(make_agent("mlp"))
    stage = minibatches(WITHIN[name])
    with pytest.raises(fx.WiringError) as caught:
        _trace(stage, agent, rollout)
    where = name.split()[0]
    assert str(caught.value).startswith(f"{where}: wanted whole trajectories, got single steps")
    assert "whole_trajectories=True" in str(caught.value)
    assert "recompute_values" in str(caught.value)
    # The same stage works where time stays whole, or is one step anyway.
    _trace(minibatches(WITHIN[name], whole_trajectories=True), agent, rollout)
    _trace(stage, agent, _shapes(agent, num_steps=1))


@pytest.mark.slow
def test_recurrent_agents_estimate_within():
    agent = make_agent("gru")
    _trace(minibatches(fx.gae()), agent, _shapes(agent))


class Own(fx.Transform[fx.data.Rollout, fx.data.Rollout]):
    """A wrapper of a user's own."""

    inner: fx.Transform

    def init(self, agent, data, key):
        return ()

    def update(self, agent, state, data, key):
        inner_state = self.inner.init(agent, lambda: data, key)
        self.inner.update(agent, inner_state, data, key)
        return fx.Step(agent, state, data)


def test_a_replay_does_not_keep_shuffled_steps():
    agent, rollout = make_agent("mlp"), _shapes(make_agent("mlp"))
    replay = Own(fx.replay(fx.identity(), capacity=64, batch_size=2))
    _trace(replay, agent, rollout)
    with pytest.raises(fx.WiringError, match=r"replay: wanted whole.*within 'minibatch'"):
        _trace(minibatches(replay), agent, rollout)


def _shapes(agent, num_steps=16):
    stage = fx.rollout(ENV, num_envs=4, num_steps=num_steps)

    def run(agent):
        return stage.update(agent, stage.init(agent, lambda: None, KEY), None, KEY).out

    return eqx.filter_eval_shape(run, agent)


def _trace(stage, agent, rollout):
    def run(agent, rollout):
        return stage.update(agent, stage.init(agent, lambda: None, KEY), rollout, KEY).agent

    return eqx.filter_eval_shape(run, agent, rollout)
