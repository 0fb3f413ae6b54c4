"""Statistics of observations belong to the agent: they are trained, evaluated and saved with it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sides import Sides

import lerax_fx as fx
from lerax_fx.agents import normalize_observations

KEY = jax.random.key(0)
LENGTH = 4


ENV = fx.envs.TimeLimit(Sides(), LENGTH)


def ppo(statistics=True):
    learn = fx.chain(fx.gae(), fx.minimize(fx.ppo_loss(), fx.optimizer(optax.adam, 3e-2)))
    stages = [fx.rollout(ENV, num_envs=4, num_steps=8), learn]
    return fx.chain(*stages, fx.update_statistics()) if statistics else fx.chain(*stages)


def fresh(key=KEY):
    return normalize_observations(fx.agents.mlp_actor_critic(ENV, key=key, width=8, depth=1), ENV)


@pytest.fixture(scope="module")
def trained():
    """Two seeds at once."""
    train = fx.anakin_loop(ppo(), 40)
    return jax.jit(jax.vmap(train))(
        jax.vmap(fresh)(jax.random.split(KEY)), jax.random.split(jax.random.key(1))
    )[0]


def seed(agents, index):
    return jax.tree.map(lambda x: x[index], agents)


def test_evaluation_gives_the_returns_of_the_agent_as_it_was_trained(trained, tmp_path):
    agent = seed(trained, 0)

    def outcome(agent):
        return fx.evaluate(ENV, agent, jax.random.key(2), num_episodes=16).episode_return

    # By hand: the mode of the policy within, of observations normalised in numpy.
    normalizer = agent.statistics
    for state in range(2):
        seen = (999.0 + 2.0 * state - normalizer.mean) / np.sqrt(normalizer.variance + 1e-8)
        output = agent.agent.step(None, jnp.asarray(seen, jnp.float32), KEY)[1]
        assert int(output.distribution.mode()) == state
    np.testing.assert_array_equal(outcome(agent), np.full(16, LENGTH))
    # The same networks with fresh statistics see only what is clipped: 10, whichever side.
    started = eqx.tree_at(lambda a: a.statistics, agent, fresh().statistics)
    assert float(outcome(started).mean()) < 3.0
    fx.save(tmp_path / "agent.fx", agent)
    loaded = fx.load(tmp_path / "agent.fx", fresh())
    np.testing.assert_array_equal(outcome(loaded), np.full(16, LENGTH))
    assert bool(eqx.tree_equal(loaded, agent))  # evaluation changed nothing


def test_each_seed_has_statistics_of_its_own(trained):
    counts, means = trained.statistics.count, trained.statistics.mean
    np.testing.assert_array_equal(counts, np.full((2, 1), 40 * 4 * 8))
    assert np.all(np.abs(means - 1000.0) < 0.2)
    assert float(means[0, 0]) != float(means[1, 0])


def rollout(observation):
    """Two environments, three steps; what is not under test is zero."""
    zeros = jnp.zeros((2, 3))
    bools = zeros.astype(bool)
    action = zeros.astype(jnp.int32)
    return fx.data.Rollout(
        observation, action, zeros, bools, bools, observation + 1e6, zeros, zeros, zeros
    )


def test_statistics_are_those_of_all_observations_that_were_acted_on():
    data = np.random.default_rng(0).normal(3.0, 2.0, (2, 3, 1)).astype(np.float32)
    data[0, 1] = np.inf
    data[1, 2] = np.nan
    stage, first = fx.update_statistics(), rollout(jnp.asarray(data))
    update = jax.jit(stage.update)
    once = update(fresh(), (), first, KEY)
    zeros = jnp.zeros((2, 3))
    again = update(once.agent, (), fx.data.Estimates(first, zeros, zeros), KEY)
    known = data[np.isfinite(data)]
    for step, times in ((once, 1), (again, 2)):
        np.testing.assert_array_equal(step.agent.statistics.count, [4 * times])
        np.testing.assert_allclose(step.agent.statistics.mean, [known.mean()], rtol=1e-5)
        np.testing.assert_allclose(step.agent.statistics.variance, [known.var()], rtol=1e-5)
    seen = once.agent.normalized(jnp.asarray([jnp.inf]))
    np.testing.assert_array_equal(seen, [10.0])
    packed = stage.update(fx.agents.packed(fresh()), (), first, KEY).agent
    assert bool(eqx.tree_equal(packed.agent, once.agent))


PARTS = fx.spaces.Dict(
    {
        "far": fx.spaces.Box(-1e3, 1e3, (2,)),
        "kind": fx.spaces.Discrete(3),
        "pair": fx.spaces.Tuple([fx.spaces.Box(0, 255, (2,), np.uint8), fx.spaces.Box(0.0, 9.0)]),
        "when": fx.envs.TimedSpace(fx.spaces.Box(-1.0, 1.0, (1,)), fx.spaces.Box(0.0, 5.0)),
    }
)


def test_only_floats_are_normalised_in_structured_observations():
    @jax.jit
    def run():
        agent = normalize_observations(fresh().agent, (PARTS, fx.spaces.Discrete(2)), clip=1.5)
        batch = jax.vmap(PARTS.sample)(jax.random.split(KEY, 50))
        agent = agent.update_statistics(batch)
        return batch, agent.normalized(jax.tree.map(lambda x: x[7], batch))

    batch, one = run()
    far = np.asarray(batch["far"])
    expected = np.clip((far[7] - far.mean(0)) / far.std(0), -1.5, 1.5)
    np.testing.assert_allclose(one["far"], expected, rtol=1e-4)
    for same in (lambda x: x["kind"], lambda x: x["pair"][0], lambda x: x["when"].dt):
        np.testing.assert_array_equal(same(one), same(batch)[7])
    assert float(one["pair"][1]) != float(batch["pair"][1][7])
    assert float(one["when"].value[0]) != float(batch["when"].value[7, 0])


PENDULUM = (fx.spaces.Box(-1.0, 1.0, (3,)), fx.spaces.Box(-2.0, 2.0, (1,)))
CHOICE = (fx.spaces.Box(-1.0, 1.0, (3,)), fx.spaces.Discrete(2))


@pytest.mark.quick("dqn")
@pytest.mark.parametrize("family", ["dqn", "sac", "td3"])
def test_replay_agents_and_their_target_networks(family):
    small = {"widths": (4,), "key": KEY}
    steps = jax.random.normal(KEY, (5, 1, 3))
    zeros = jnp.zeros((5, 1))
    action, part, spaces, loss = zeros[..., None], "critic", PENDULUM, fx.q_critic_loss()
    if family == "dqn":
        inner, part, spaces, loss = fx.q_agent(CHOICE, **small), (), CHOICE, fx.q_loss()
        target, action = fx.td_target(double=True, update=fx.polyak(0.01)), zeros.astype(int)
    elif family == "sac":
        inner, target = fx.soft_actor_critic(PENDULUM, **small), fx.sac_target()
    else:
        inner = fx.deterministic_actor_critic(PENDULUM, **small)
        target = fx.td3_target(update=fx.periodic(100))
    bools = zeros.astype(bool)
    data = fx.data.Transitions(steps, action, zeros, bools, bools, 1 + steps)
    minimize = fx.minimize(loss, fx.optimizer(optax.adamw, 1e-2, weight_decay=0.1), part=part)

    @jax.jit
    def run():
        first = normalize_observations(inner, spaces)
        algorithm = fx.chain(target, minimize)
        # The state comes of an agent with other statistics than it learns with later.
        state = algorithm.init(first, lambda: data, KEY)
        target_state = target.init(first, lambda: data, KEY)
        agent = first.update_statistics(5.0 + 3.0 * steps[:, 0])
        seen = [
            jax.vmap(jax.vmap(agent.normalized))(x)
            for x in (data.observation, data.next_observation)
        ]
        normal = eqx.tree_at(lambda d: (d.observation, d.next_observation), data, seen)
        plain = target.update(inner, target.init(inner, lambda: data, KEY), normal, KEY)
        ours = target.update(agent, target_state, data, KEY)
        step = algorithm.update(agent, state, data, KEY)
        return agent, step.agent, plain, ours

    agent, after, plain, ours = run()
    # Trained, but not the statistics.
    assert bool(eqx.tree_equal(after.statistics, agent.statistics))
    assert not bool(eqx.tree_equal(after.agent, agent.agent))
    # The target network has no statistics of its own: it is the agent within on observations that
    # are normalised by the agent's.
    np.testing.assert_allclose(ours.out.target, plain.out.target, rtol=1e-5)
    networks = ours.state.network, plain.state.network
    assert len(jax.tree.leaves(networks[0])) == len(jax.tree.leaves(networks[1]))


@pytest.mark.slow
def test_check_agent_and_packed_agents():
    agent = fresh()
    fx.check_agent(agent, ENV)
    q = normalize_observations(fx.q_agent(CHOICE, key=KEY, widths=(4,)), CHOICE)
    packed = fx.agents.packed(q)  # with a field that is None, which is no leaf
    data = fx.data.Targets(jnp.ones((4, 2, 3)), jnp.zeros((4, 2), jnp.int32), jnp.ones((4, 2)))
    minimize = fx.minimize(fx.q_loss(), fx.optimizer(optax.adamw, 1e-2))
    step = minimize.update(packed, minimize.init(packed, lambda: None, KEY), data, KEY)
    assert bool(eqx.tree_equal(step.agent.agent.statistics, q.statistics))
    plain = minimize.update(q, minimize.init(q, lambda: None, KEY), data, KEY)
    assert bool(eqx.tree_equal(step.agent.agent, plain.agent))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: normalize_observations(fresh(), ENV, clip=0.0), fx.HyperparameterError, "clip"),
        (lambda: normalize_observations(fresh(), ENV, epsilon=-1.0), fx.LeraxError, "epsilon"),
        (lambda: normalize_observations("agent", ENV), fx.LeraxError, "agent|str"),
        (
            lambda: normalize_observations(
                fx.planning.planning_agent("Pendulum-v1", key=KEY, width=4), "Pendulum-v1"
            ),
            fx.WiringError,
            "without a model",
        ),
        (
            lambda: normalize_observations(fresh(), (fx.spaces.Discrete(3), fx.spaces.Discrete(2))),
            fx.WiringError,
            "a Box of floats",
        ),
        (
            lambda: jax.eval_shape(fx.anakin_loop(ppo(), 1), fresh().agent, KEY),
            fx.WiringError,
            "update_statistics: agent: wanted an agent that keeps statistics",
        ),
        (
            lambda: jax.eval_shape(
                fx.anakin_loop(
                    fx.chain(
                        fx.rollout(ENV, num_envs=2, num_steps=2),
                        fx.replay(fx.update_statistics(), capacity=8, batch_size=2),
                    ),
                    1,
                ),
                fresh(),
                KEY,
            ),
            fx.WiringError,
            "wanted a Rollout or Estimates, got a Transitions",
        ),
    ],
)
def test_errors_in_words(make, error, message):
    with pytest.raises(error, match=message):
        make()
