"""Action masks: policies, exploration and targets leave out what an observation forbids."""

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx
from lerax_fx.spaces import Box, Dict, Discrete, MultiBinary

KEY = jax.random.key(0)
SIZE, ACTIONS = 3, 4
MOVES = jnp.array([[0, 1], [1, 0], [0, -1], [-1, 0]])


class MaskedGrid(fx.Env):
    """From one corner of a grid to the other; a step over the edge is forbidden, and costs 100."""

    @property
    def action_space(self):
        return Discrete(ACTIONS)

    @property
    def observation_space(self):
        place = Box(0.0, 1.0, (2,))
        return Dict({"place": place, "action_mask": MultiBinary(ACTIONS)})

    def initial(self, *, key):
        return jnp.zeros(2, jnp.int32)

    def transition(self, state, action, *, key):
        return state + MOVES[action]

    def observation(self, state, *, key):
        ahead = state + MOVES
        allowed = jnp.all((ahead >= 0) & (ahead < SIZE), axis=1)
        # Where the episode ends, nothing is allowed.
        allowed &= ~self.terminal(state, key=key)
        return {"place": state / (SIZE - 1), "action_mask": allowed.astype(jnp.int8)}

    def reward(self, state, action, next_state, *, key):
        inside = jnp.all((next_state >= 0) & (next_state < SIZE))
        return jnp.where(inside, -1.0, -100.0)

    def terminal(self, state, *, key):
        return jnp.all(state == SIZE - 1) | jnp.any((state < 0) | (state >= SIZE))


ENV = fx.envs.TimeLimit(MaskedGrid(), 12)
SMALL = {"key": KEY, "action_mask": "action_mask"}
MAKERS = {
    "mlp": lambda: fx.actor_critic(ENV, width=8, **SMALL),
    "gru": lambda: fx.actor_critic(ENV, width=8, memory="gru", **SMALL),
    "q": lambda: fx.q_agent(ENV, widths=(8,), dueling=True, **SMALL),
    "gru-q": lambda: fx.agents.gru_q_agent(ENV, width=8, **SMALL),
    "c51": lambda: fx.categorical_q_agent(ENV, widths=(8,), num_atoms=3, **SMALL),
    "sac": lambda: fx.soft_actor_critic(ENV, widths=(8,), **SMALL),
}
ADAM = fx.optimizer(optax.adam, 1e-2)


def seen(allowed, axes=()):
    place = jnp.full((*axes, 2), 0.5)
    return {"place": place, "action_mask": jnp.broadcast_to(jnp.asarray(allowed), (*axes, 4))}


@pytest.mark.quick("mlp", "gru-q")
@pytest.mark.parametrize("name", MAKERS)
def test_forbidden_actions_have_no_probability(name):
    agent = MAKERS[name]()
    fx.check_agent(agent, ENV)
    mask = jnp.array([0, 1, 0, 1], jnp.int8)

    @jax.jit
    def run(mask):
        output = agent.step(agent.initial_memory(), seen(mask), KEY)[1]

        def loss(agent):
            distribution = agent.step(agent.initial_memory(), seen(mask), KEY)[1].distribution
            return distribution.entropy() + distribution.log_prob(1)

        stochastic = not isinstance(output, fx.agents.QOutput)
        gradient = jax.grad(loss)(agent) if stochastic else ()
        return output, output.distribution.probs, output.distribution.entropy(), gradient

    output, probs, entropy, gradient = run(mask)
    np.testing.assert_array_equal(np.asarray(probs)[[0, 2]], 0.0)
    np.testing.assert_array_equal(output.action_mask, [False, True, False, True])
    assert 0.0 <= float(entropy) <= np.log(2) + 1e-6
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))
    if isinstance(output, fx.agents.QOutput):
        assert float(output.value) == float(output.q_values[jnp.array([1, 3])].max())
        assert bool(jnp.all(jnp.isfinite(output.q_values)))
        chosen = fx.epsilon_greedy(0.5)(output, jnp.zeros((), jnp.int32))
        best = int(output.q_values.argmax())
        other = 4 - best
        expected = np.zeros(4)
        expected[[best, other]] = 0.75, 0.25
        np.testing.assert_allclose(chosen.probs, expected, atol=1e-6)
    # Where nothing is allowed, everything is.
    free = run(jnp.zeros(4, jnp.int8))[0]
    np.testing.assert_array_equal(free.action_mask, [True] * 4)


@pytest.mark.quick("True")
@pytest.mark.parametrize("double", [False, True])
def test_targets_are_of_actions_that_are_allowed(double):
    agent = fx.q_agent(ENV, widths=(8,), **SMALL)
    # The first action is by far the best, and forbidden.
    bias = jnp.array([50.0, 1.0, 2.0, 3.0])
    agent = eqx.tree_at(lambda a: a.network.layers[-1].bias, agent, bias)
    zeros = jnp.zeros((2, 1))
    bools = zeros.astype(bool)
    before, after = seen([1, 1, 1, 1], (2, 1)), seen([0, 1, 1, 0], (2, 1))
    action = zeros.astype(jnp.int32)
    data = fx.data.Transitions(before, action, zeros, bools, bools, after)
    target = fx.td_target(discount=1.0, double=double)
    out = jax.jit(target.update)(agent, target.init(agent, lambda: data, KEY), data, KEY).out
    q_values = agent.step(None, seen([0, 1, 1, 0]), KEY)[1].q_values
    np.testing.assert_allclose(out.target, np.full((2, 1), q_values[1:3].max()), rtol=1e-5)


def without_forbidden_steps(metrics):
    returns = np.asarray(metrics["episode_return"])
    return bool(np.all(returns[~np.isnan(returns)] >= -12.0))


@pytest.mark.slow
def test_ppo_learns_a_masked_grid():
    learn = fx.minimize(fx.ppo_loss(), ADAM)
    algorithm = fx.chain(
        fx.rollout(ENV, num_envs=8, num_steps=16),
        fx.gae(discount=1.0),
        fx.normalize_advantage(),
        fx.repeat(4, learn),
    )
    agent, metrics = fx.anakin_loop(algorithm, 40)(MAKERS["mlp"](), KEY)
    assert without_forbidden_steps(metrics)
    outcome = fx.evaluate(ENV, agent, KEY, num_episodes=4)
    np.testing.assert_array_equal(outcome.episode_return, [-4.0] * 4)


@pytest.mark.slow
def test_dqn_learns_a_masked_grid():
    learn = fx.chain(fx.td_target(discount=0.9, double=True, update=fx.polyak(0.05)),
                     fx.minimize(fx.q_loss(), ADAM))  # fmt: skip
    algorithm = fx.chain(
        fx.rollout(ENV, num_envs=8, num_steps=4, explore=fx.epsilon_greedy(0.7)),
        fx.replay(learn, capacity=4096, batch_size=64, warmup=128, updates_per_step=4),
    )
    agent, metrics = fx.anakin_loop(algorithm, 150)(MAKERS["q"](), KEY)
    assert without_forbidden_steps(metrics)
    outcome = fx.evaluate(ENV, agent, KEY, num_episodes=4)
    np.testing.assert_array_equal(outcome.episode_return, [-4.0] * 4)


@pytest.mark.slow
def test_discrete_sac_has_finite_gradients():
    agent = MAKERS["sac"]()
    zeros = jnp.zeros((3, 1))
    data = fx.data.Targets(seen([0, 1, 0, 0], (3, 1)), jnp.ones((3, 1), jnp.int32), zeros)
    loss = fx.sac_policy_loss() + fx.temperature_loss() + fx.q_critic_loss()
    value, gradient = jax.jit(jax.value_and_grad(lambda a: loss(a, data, KEY)[0]))(agent)
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves((value, gradient)))


class Careless(fx.agents.AbstractFeedforward):
    """Gives a mask, and does not go by it."""

    logits: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(ACTIONS))

    def output(self, observation, key):
        allowed = observation["action_mask"] > 5
        return fx.agents.Output(
            distrax.Categorical(self.logits), self.logits.sum(), action_mask=allowed
        )


def with_mask(space):
    return Dict({"mask": space, "x": Box(0.0, 1.0, (2,))}), Discrete(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: fx.q_agent(ENV, key=KEY, action_mask="mask"),
            r"q_agent: action_mask: wanted one of the observation's entries, 'action_mask', "
            r"'place', got 'mask'",
        ),
        (
            lambda: fx.actor_critic(with_mask(MultiBinary(4)), key=KEY, action_mask="mask"),
            r"actor_critic: action_mask 'mask': wanted an entry of shape \(3,\).*got shape \(4,\)",
        ),
        (
            lambda: fx.soft_actor_critic(
                with_mask(Box(0.0, 1.0, (3,))), key=KEY, action_mask="mask"
            ),
            "soft_actor_critic: action_mask 'mask': wanted bools, or integers that are 0 or 1",
        ),
        (
            lambda: fx.q_agent(with_mask(Box(0, 7, (3,), int)), key=KEY, action_mask="mask"),
            "wanted bools",
        ),
        (
            lambda: fx.actor_critic("CartPole-v1", key=KEY, action_mask="mask"),
            "actor_critic: action_mask: wanted observations with entries by name: a Dict",
        ),
        (
            lambda: fx.actor_critic(
                (with_mask(MultiBinary(1))[0], Box(-1.0, 1.0, (1,))), key=KEY, action_mask="mask"
            ),
            "wanted Discrete actions",
        ),
        (lambda: fx.check_agent(Careless(), ENV), "wanted probability 0 for every action"),
    ],
)
def test_errors_in_words(make, message):
    with pytest.raises(fx.WiringError, match=message):
        make()
