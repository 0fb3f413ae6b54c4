"""A packed agent is the agent."""

import copy

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx
from recipes import sac

KEY = jax.random.key(0)
OBSERVATION = jnp.array([0.1, -0.2, 0.3, -0.4])


def value(agent, observation):
    return agent.step(None, observation, KEY)[1].value


@pytest.fixture
def agent():
    return fx.actor_critic("CartPole-v1", key=KEY)


def same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)
    return True


def test_it_has_what_the_agent_has(agent):
    packed = fx.agents.packed(agent)
    assert same(value(packed, OBSERVATION), value(agent, OBSERVATION))
    assert same(packed.actor, agent.actor)
    assert same(packed.agent, agent)
    assert packed.agent.critic.activation == agent.critic.activation
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = packed.no_such_thing


def test_jit_grad_vmap_and_optax_take_it(agent):
    packed = fx.agents.packed(agent)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def learn(agent, state):
        updates, state = optimizer.update(jax.grad(value)(agent, OBSERVATION), state, agent)
        return optax.apply_updates(agent, updates), state

    plain, state = agent, optimizer.init(agent)
    packed, packed_state = packed, optimizer.init(packed)
    for _ in range(3):
        plain, state = learn(plain, state)
        packed, packed_state = learn(packed, packed_state)
    assert same(packed.agent, plain)
    assert not np.array_equal(packed.critic.layers[0].weight, agent.critic.layers[0].weight)
    agents = jax.vmap(lambda key: fx.agents.packed(fx.actor_critic("CartPole-v1", key=key)))(
        jax.random.split(KEY, 3)
    )
    assert jax.vmap(value, in_axes=(0, None))(agents, OBSERVATION).shape == (3,)


def test_a_call_asks_python_for_no_module(agent, monkeypatch):
    step = jax.jit(value)
    packed = fx.agents.packed(agent)
    step(packed, OBSERVATION)
    traced = step._cache_size()
    monkeypatch.setattr(type(packed), "agent", property(lambda _: pytest.fail("unpacked")))
    # Other arrays of the same structure, from another agent made alike.
    other = fx.agents.packed(fx.actor_critic("CartPole-v1", key=jax.random.key(1)))
    step(other, OBSERVATION)
    assert step._cache_size() == traced


def test_a_loop_trains_it_as_it_trains_the_agent(agent):
    algorithm = fx.chain(
        fx.rollout("CartPole-v1", num_envs=2, num_steps=4),
        fx.gae(),
        fx.minimize(fx.ppo_loss(), optax.adam(1e-2)),
    )
    train = fx.anakin_loop(algorithm, 2)
    trained, metrics = train(agent, KEY)
    packed, packed_metrics = train(fx.agents.packed(agent), KEY)
    assert same(packed.agent, trained)
    assert same(packed_metrics, metrics)


def test_a_part_of_it_can_be_trained(agent):
    train = fx.anakin_loop(
        fx.chain(
            fx.rollout("CartPole-v1", num_envs=2, num_steps=4),
            fx.gae(),
            fx.minimize(fx.value_loss(), optax.adam(1e-2), part="critic"),
        ),
        2,
    )
    trained, _ = train(agent, KEY)
    packed, _ = train(fx.agents.packed(agent), KEY)
    assert same(packed.agent, trained)
    assert same(packed.actor, agent.actor)
    assert not np.array_equal(packed.critic.layers[0].weight, agent.critic.layers[0].weight)


@pytest.mark.slow
def test_a_packed_soft_actor_critic_is_trained():
    sizes = {"total_steps": 32, "num_envs": 2, "capacity": 64, "batch_size": 4, "warmup": 8}
    agent, train = sac.make("Pendulum-v1", key=KEY, width=8, **sizes)
    trained, _ = train(agent, KEY)
    packed, _ = train(fx.agents.packed(agent), KEY)
    assert same(packed.agent, trained)


def test_it_is_immutable(agent):
    packed = fx.agents.packed(agent)
    with pytest.raises(AttributeError, match="packed: actor: an agent is immutable"):
        packed.actor = None
    with pytest.raises(AttributeError, match="packed: leaves: an agent is immutable"):
        del packed.leaves


def test_it_can_be_copied(agent):
    packed = fx.agents.packed(agent)
    assert same(copy.deepcopy(packed).agent, packed.agent)


def test_leaves_that_are_no_arrays_are_refused():
    class Scaled(eqx.Module):
        scale: float

    with pytest.raises(fx.WiringError, match=r"packed: agent.*0\.5.*static"):
        fx.agents.packed(Scaled(0.5))
