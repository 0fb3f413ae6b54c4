"""`check_agent`, and the keys that agents get."""

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx

KEY = jax.random.key(0)
ENV = fx.make("CartPole-v1")
PENDULUM = fx.make("Pendulum-v1")


class Drawing(fx.agents.AbstractFeedforward):
    """Its value is drawn with its key."""

    logits: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(2))

    def output(self, observation, key):
        return fx.agents.Output(distrax.Categorical(self.logits), jax.random.uniform(key))


class Averaging(fx.agents.AbstractActorCritic):
    """A running mean of the observations is its hidden state."""

    weight: jax.Array = eqx.field(default_factory=lambda: jax.random.normal(KEY, (4, 2)))

    def initial_memory(self):
        return jnp.zeros(4)

    def step(self, memory, observation, key):
        memory = 0.9 * memory + 0.1 * observation
        return memory, fx.agents.Output(distrax.Categorical(memory @ self.weight), memory.sum())


class Forgetful(Averaging):
    def unroll(self, memory, observations, resets, key):
        return super().unroll(self.initial_memory(), observations, resets, key)


class Shorter(Averaging):
    def unroll(self, memory, observations, resets, key):
        memory, output = super().unroll(memory, observations, resets, key)
        return memory, fx.agents.Output(output.distribution, output.value[1:])


class NotANumber(Averaging):
    def step(self, memory, observation, key):
        memory, output = super().step(memory, observation, key)
        return memory, fx.agents.Output(output.distribution, jnp.log(-jnp.abs(output.value) - 1))


class TooFewQValues(Averaging):
    def step(self, memory, observation, key):
        memory, output = super().step(memory, observation, key)
        return memory, fx.agents.QOutput(output.distribution, output.value, jnp.zeros(3))


class OneCritic(fx.agents.AbstractFeedforward):
    bounds: fx.agents.ActionBounds
    critic: jax.Array = eqx.field(default_factory=lambda: jnp.ones(3))

    def policy(self, observation, key):
        return fx.agents.DeterministicAction(jnp.zeros(1), self.bounds)

    def q_values(self, observation, action, key):
        return self.critic @ observation

    def output(self, observation, key):
        return fx.agents.Output(
            self.policy(observation, key), self.q_values(observation, None, key)
        )


RIGHT = {
    "with its own unroll": (lambda: fx.agents.gru_q_agent(ENV, key=KEY, width=4), ENV),
    "with the base class's unroll": (Averaging, ENV),
    "drawing": (Drawing, ENV),
    "continuous Q": (lambda: fx.soft_actor_critic(PENDULUM, key=KEY, widths=(4,)), PENDULUM),
    "discrete Q": (lambda: fx.soft_actor_critic(ENV, key=KEY, widths=(4,)), ENV),
}


@pytest.mark.quick("drawing", "discrete Q")
@pytest.mark.parametrize("name", RIGHT)
def test_right_agents_pass(name):
    make, env = RIGHT[name]
    fx.check_agent(make(), env)


@pytest.mark.parametrize(
    ("make", "env", "message"),
    [
        (lambda: 42, ENV, "check_agent: agent: wanted an agent with initial_memory.*a int without"),
        (Forgetful, ENV, "agent: unroll: outputs.*wanted what repeated steps give"),
        (
            Shorter,
            ENV,
            r"agent: unroll: outputs\.value: wanted outputs.*float32\[5\].*float32\[4\]",
        ),
        (NotANumber, ENV, "agent: value: wanted numbers, got NaN"),
        (TooFewQValues, ENV, "agent: actions: wanted a distribution over CartPole-v1's 2 actions"),
        (
            lambda: OneCritic(fx.agents.action_bounds("", PENDULUM.action_space)),
            PENDULUM,
            r"agent: q_values: wanted each critic's values, \(critics,\)",
        ),
    ],
)
def test_wrong_agents_are_told_so(make, env, message):
    with pytest.raises(fx.WiringError, match=message):
        fx.check_agent(make(), env)


@pytest.mark.slow
def test_each_step_of_a_rollout_has_a_key_of_its_own():
    """In each environment, and for each observation that is bootstrapped from."""
    env = fx.envs.TimeLimit(ENV, 3)
    stage = fx.rollout(env, num_envs=3, num_steps=5)
    rollout = stage.update(Drawing(), stage.init(Drawing(), lambda: None, KEY), None, KEY).out
    assert bool(rollout.truncated[:, :-1].any())
    assert len(np.unique(rollout.value)) == rollout.value.size
    bootstrapped = rollout.truncated.at[:, -1].set(True)
    drawn = np.concatenate([rollout.value.ravel(), rollout.next_value[bootstrapped]])
    assert len(np.unique(drawn)) == drawn.size


def test_unroll_of_the_base_class_folds_the_step_into_the_key():
    agent, observations = Drawing(), jnp.zeros((3, 4))
    _, output = agent.unroll(None, observations, jnp.zeros(3, bool), KEY)
    wanted = [agent.step(None, observations[t], jax.random.fold_in(KEY, t))[1] for t in range(3)]
    np.testing.assert_array_equal(output.value, [each.value for each in wanted])


def test_minimize_takes_a_plain_function_of_agent_data_and_key():
    def loss(agent, data, key):
        return jnp.sum((agent - data) ** 2) + 0.0 * jax.random.uniform(key), {"size": agent.sum()}

    stage = fx.minimize(loss, optax.sgd(0.25))
    agent, data = jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])
    step = stage.update(agent, stage.init(agent, lambda: data, KEY), data, KEY)
    np.testing.assert_allclose(step.agent, [2.0, 2.0])
    assert {name: float(x) for name, x in step.metrics.items()} == {"loss": 4.0, "size": 3.0}


@pytest.mark.parametrize("loss", [fx.ppo_loss, fx.entropy, lambda agent, data: 0.0, 0.5])
def test_minimize_refuses_what_is_no_loss(loss):
    with pytest.raises((fx.WiringError, TypeError), match="loss"):
        fx.minimize(loss, optax.sgd(0.1))
