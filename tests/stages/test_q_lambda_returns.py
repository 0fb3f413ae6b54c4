"""Q(lambda) targets against their definition, a weighted mean of n-step returns, in numpy."""

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings

import lerax_fx as fx

KEY = jax.random.key(0)
ENV = fx.make("CartPole-v1")
AGENT = fx.q_agent(ENV, key=KEY, widths=(4,), layer_norm=True)
TIME = 7
q_lambda_returns = jax.jit(fx.q_lambda_returns.function)

# Of two lengths alone: each is compiled.
patterns = st.sampled_from([1, TIME]).flatmap(
    lambda time: st.lists(
        st.sampled_from(["runs", "terminated", "truncated", "both"]), min_size=time, max_size=time
    )
)
fractions = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0))


def trajectory(seed, pattern):
    """Random numbers; `next_value` is 0 where terminated, and is not the next row's value
    elsewhere, so that a mistake of one row shows.
    """
    random = np.random.default_rng(seed)
    time = len(pattern)
    terminated = np.isin(pattern, ["terminated", "both"])
    truncated = np.isin(pattern, ["truncated", "both"])
    next_value = np.where(terminated, 0.0, random.normal(size=time))
    numbers = (
        random.normal(size=(time, 2)),
        random.integers(0, 3, time, dtype=np.int32),
        random.normal(size=time),
        terminated,
        truncated,
        random.normal(size=(time, 2)),
        random.normal(size=time),
        random.normal(size=time),
        next_value,
    )
    return fx.data.Rollout(
        *(jnp.asarray(x, jnp.float32 if x.dtype == np.float64 else x.dtype) for x in numbers)
    )


def collected(stage):
    def collect(key):
        return stage.update(AGENT, stage.init(AGENT, lambda: None, KEY), None, key).out

    return jax.jit(collect)(jax.random.key(1))


def by_hand(reward, best, terminated, done, discount, lambda_):
    """Of each step, the mean of its n-step returns with weights (1 - lambda) lambda^(n-1);
    the longest, which ends with the episode or the trajectory, has what weight is left.
    """
    targets = np.zeros(len(reward))
    for start in range(len(reward)):
        rewards, weight = 0.0, 1.0
        for n, t in enumerate(range(start, len(reward)), 1):
            rewards += discount ** (n - 1) * reward[t]
            n_step = rewards + (0.0 if terminated[t] else discount**n * best[t])
            longest = done[t] or t == len(reward) - 1
            targets[start] += weight * (1.0 if longest else 1.0 - lambda_) * n_step
            if longest:
                break
            weight *= lambda_
    return targets


def as_numpy(rollout):
    fields = rollout.reward, rollout.next_value, rollout.terminated, rollout.done
    return [np.asarray(field) for field in fields]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), patterns, fractions, fractions)
def test_targets_are_those_by_hand(seed, pattern, discount, lambda_):
    rollout = trajectory(seed, pattern)
    out = q_lambda_returns(rollout, discount=discount, lambda_=lambda_)
    expected = by_hand(*as_numpy(rollout), discount, lambda_)
    np.testing.assert_allclose(out.target, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(out.observation, rollout.observation)
    np.testing.assert_array_equal(out.action, rollout.action)


def test_lambda_goes_from_one_step_to_whole_returns():
    rollout = trajectory(1, ["runs", "runs", "truncated", "runs"])
    one_step = q_lambda_returns(rollout, discount=0.9, lambda_=0.0).target
    np.testing.assert_allclose(one_step, rollout.reward + 0.9 * rollout.next_value, rtol=1e-6)
    whole = q_lambda_returns(rollout, discount=0.9, lambda_=1.0).target
    n_step = fx.n_step_returns.function(rollout, n=4, discount=0.9).target
    np.testing.assert_allclose(whole, n_step, rtol=1e-5)


def test_a_time_limit_bootstraps_from_the_best_action_before_the_reset():
    """Through the rollout: the values are the agent's, of what was seen before the reset."""
    env = fx.envs.TimeLimit(ENV, 3)
    # CartPole takes 8 steps to fall at the least: the limit comes first.
    stage = fx.rollout(env, num_envs=4, num_steps=8, explore=fx.epsilon_greedy(0.5))
    rollout = collected(stage)
    assert rollout.truncated.sum() == 8
    assert not rollout.terminated.any()
    values = jax.jit(jax.vmap(jax.vmap(lambda x: AGENT.step(None, x, KEY)[1].q_values)))
    best = np.asarray(values(rollout.next_observation)).max(axis=-1)
    out = q_lambda_returns(rollout, discount=0.9, lambda_=0.7)
    assert out.target.shape == (4, 8)
    for i in range(4):
        row = jax.tree.map(lambda x, i=i: x[i], rollout)
        reward, _, terminated, done = as_numpy(row)
        expected = by_hand(reward, best[i], terminated, done, 0.9, 0.7)
        np.testing.assert_allclose(out.target[i], expected, rtol=1e-4, atol=1e-5)


def test_a_termination_leaves_the_reward():
    rollout = trajectory(2, ["truncated", "runs", "terminated", "both"])
    target = q_lambda_returns(rollout, discount=0.9, lambda_=0.5).target
    np.testing.assert_array_equal(target[2:], rollout.reward[2:])
    cut = rollout.reward[0] + 0.9 * rollout.next_value[0]
    np.testing.assert_allclose(target[0], cut, rtol=1e-6)


@pytest.mark.slow
def test_recurrent_agents_learn_from_hidden_states_and_resets():
    """Each trajectory begins with its hidden state, and anew where an episode does."""
    env = fx.envs.TimeLimit(
        ENV, 3
    )  # an episode begins at steps 3 and 6, and with the second update
    agent = fx.agents.gru_q_agent(env, key=KEY, width=4)
    stage = fx.rollout(env, num_envs=2, num_steps=8, explore=fx.epsilon_greedy(0.5))

    @jax.jit
    def second_rollout(key):
        first = stage.update(agent, stage.init(agent, lambda: None, key), None, key)
        return stage.update(agent, first.state, None, key).out

    rollout = second_rollout(KEY)
    targets = q_lambda_returns(rollout, discount=0.9, lambda_=0.7)
    assert np.asarray(rollout.resets).any(axis=1).all()
    assert np.asarray(rollout.memory).any(axis=1).all()

    @jax.jit
    def loss_by_hand(agent):
        total = 0.0
        for i in range(2):
            memory = rollout.memory[i]
            for t in range(8):
                if t > 0:
                    begins = rollout.done[i, t - 1]
                    memory = jnp.where(begins, agent.initial_memory(), memory)
                memory, output = agent.step(memory, rollout.observation[i, t], KEY)
                value = output.q_values[rollout.action[i, t]]
                total += 0.5 * (value - targets.target[i, t]) ** 2
        return total / 16

    loss, _ = eqx.filter_jit(fx.q_loss())(agent, targets, KEY)
    np.testing.assert_allclose(loss, loss_by_hand(agent), rtol=1e-5)

    trained, metrics = fx.anakin_loop(learning(0.9, 0.7, 1e-2), 2)(agent, KEY)
    assert np.isfinite(metrics["minimize/loss"]).all()
    pairs = zip(*map(jax.tree.leaves, (agent, trained)), strict=True)
    assert all((a != b).any() for a, b in pairs)


def learning(discount, lambda_, rate):
    return fx.chain(
        fx.rollout(ENV, num_envs=2, num_steps=4, explore=fx.epsilon_greedy(rate)),
        fx.q_lambda_returns(discount=discount, lambda_=lambda_),
        fx.minibatch(
            fx.minimize(fx.q_loss(), fx.optimizer(optax.radam, rate)),
            num_epochs=1,
            num_minibatches=2,
        ),
    )


def test_each_float_costs_no_compilation():
    """What is compiled depends on the structure, see test_anakin."""
    some, one = fx.partition(learning(0.9, 0.1, 1e-3))
    others, other = fx.partition(learning(0.8, 0.2, 1e-2))
    assert one == other
    assert sum(a != b for a, b in zip(some, others, strict=True)) == 4


def test_it_is_a_minibatch_of_the_targets_that_is_learnt_from():
    """With one minibatch, the step is that of the whole batch's gradient."""
    collect = fx.rollout(ENV, num_envs=2, num_steps=4, explore=fx.epsilon_greedy(0.5))
    rollout = collected(collect)
    targets = q_lambda_returns(rollout)
    learn = fx.minimize(fx.q_loss(), optax.sgd(0.1))
    stage = fx.minibatch(learn, num_epochs=1, num_minibatches=1)
    learnt = jax.jit(
        lambda key: stage.update(AGENT, stage.init(AGENT, lambda: None, KEY), targets, key).agent
    )(jax.random.key(2))
    gradient = jax.jit(jax.grad(lambda agent: fx.q_loss()(agent, targets, KEY)[0]))(AGENT)
    for new, old, slope in zip(*map(jax.tree.leaves, (learnt, AGENT, gradient)), strict=True):
        np.testing.assert_allclose(new, old - 0.1 * slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: fx.q_lambda_returns(discount=1.5),
            fx.HyperparameterError,
            "q_lambda_returns: discount",
        ),
        (
            lambda: fx.q_lambda_returns(lambda_=-0.1),
            fx.HyperparameterError,
            "q_lambda_returns: lambda_",
        ),
        (
            lambda: fx.q_lambda_returns(lamda=0.9),
            fx.HyperparameterError,
            "Did you mean 'lambda_'",
        ),
        (
            lambda: fx.chain(
                fx.rollout(ENV, num_envs=1, num_steps=1),
                fx.minimize(fx.q_loss(), optax.sgd(0.1)),
            ),
            fx.WiringError,
            r"wanted Targets, got Rollout.*fx\.q_lambda_returns",
        ),
        (
            lambda: fx.anakin_loop(
                fx.chain(
                    fx.rollout(ENV, num_envs=1, num_steps=1),
                    fx.q_lambda_returns(),
                    fx.minimize(fx.q_loss(), optax.sgd(0.1)),
                ),
                1,
            )(fx.actor_critic(ENV, key=KEY), KEY),
            fx.WiringError,
            r"q_loss: agent.*fx\.q_agent",
        ),
    ],
)
def test_bad_input_is_told_so(make, error, message):
    with pytest.raises(error, match=message):
        make()
