import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import KEY, SPACES, TIME, make_agent, observations
from hypothesis import given, settings
from hypothesis import strategies as st


@functools.cache
def agent_of(name):
    # One compilation instead of one for each operation.
    return jax.jit(make_agent, static_argnums=0)(name, KEY)


@functools.cache
def unroller(name):
    return jax.jit(lambda agent, xs, resets: agent.unroll(agent.initial_memory(), xs, resets, KEY))


@functools.cache
def stepper(name):
    """`step` after `step`, with the memory reset by hand."""

    def run(agent, xs, resets):
        def one(memory, inputs):
            x, reset = inputs
            memory = jax.tree.map(
                lambda a, b: jnp.where(reset, a, b), agent.initial_memory(), memory
            )
            return agent.step(memory, x, KEY)

        return jax.lax.scan(one, agent.initial_memory(), (xs, resets))

    return jax.jit(run)


def assert_close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.quick("mlp-gaussian", "gru", "ode")
@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=10, deadline=None)
@given(resets=st.lists(st.booleans(), min_size=TIME, max_size=TIME))
def test_unroll_is_repeated_step(name, resets):
    arguments = (agent_of(name), observations(name), jnp.asarray(resets))
    assert_close(unroller(name)(*arguments), stepper(name)(*arguments))


@pytest.mark.quick("gru", "cde")
@pytest.mark.parametrize("name", ["gru", "gru-image", "ode", "ode-gru", "cde", "cde-image"])
def test_a_reset_forgets(name):
    agent, xs = agent_of(name), observations(name)
    resets = jnp.arange(TIME) == 3
    values = unroller(name)(agent, xs, resets)[1].value
    other = jax.tree.map(lambda x: x.at[:3].set(0), xs)
    others = unroller(name)(agent, other, resets)[1].value
    np.testing.assert_array_equal(values[3:], others[3:])
    assert not np.allclose(values[:3], others[:3])
    never = jnp.zeros(TIME, bool)
    assert not np.allclose(
        unroller(name)(agent, xs, never)[1].value[3:],
        unroller(name)(agent, other, never)[1].value[3:],
    )


@pytest.mark.quick("gru", "cde")
@pytest.mark.parametrize("name", ["gru", "ode", "cde"])
def test_unroll_begins_with_the_given_memory(name):
    agent, xs, never = agent_of(name), observations(name), jnp.zeros(TIME, bool)
    unroll = jax.jit(type(agent).unroll)
    middle, _ = unroll(agent, agent.initial_memory(), xs[:2], never[:2], KEY)
    _, outputs = unroll(agent, middle, xs[2:], never[2:], KEY)
    _, whole = unroller(name)(agent, xs, never)
    np.testing.assert_allclose(outputs.value, whole.value[2:], rtol=1e-5)


@pytest.mark.quick("mlp-gaussian", "gru", "ode")
@pytest.mark.parametrize("name", SPACES)
def test_only_arrays_for_leaves(name):
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(agent_of(name)))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(agent_of(name)))


@pytest.mark.quick("mlp-squashed", "mlp-bits", "gru")
@pytest.mark.parametrize("name", SPACES)
def test_distributions_survive_vmap_scan_and_jit(name):
    agent, action_space = agent_of(name), SPACES[name][1]
    batch = 2
    xs = jax.vmap(lambda key: observations(name, key, 1))(jax.random.split(KEY, batch))
    keys = jax.random.split(KEY, (batch, 1))

    @jax.jit
    def unroll(agent, xs):
        def one(xs):
            return agent.unroll(agent.initial_memory(), xs, jnp.zeros(1, bool), KEY)[1].distribution

        return jax.vmap(one)(xs)

    @jax.jit
    def use(distributions, keys):
        def one(d, key):
            action = d.sample(seed=key)
            return action, d.log_prob(action), d.entropy(), d.mode()

        return jax.vmap(jax.vmap(one))(distributions, keys)

    distributions = unroll(agent, xs)
    actions, log_probs, entropies, modes = use(distributions, keys)
    assert actions.shape == modes.shape == (batch, 1, *action_space.shape)
    assert actions.dtype == modes.dtype == action_space.dtype
    assert log_probs.shape == entropies.shape == (batch, 1)
    assert jnp.all(jnp.isfinite(log_probs))
    assert jnp.all(jnp.isfinite(entropies))
    if name != "mlp-gaussian":  # whose actions may leave the Box
        assert jax.vmap(jax.vmap(action_space.contains))(actions).all()


@pytest.mark.quick("mlp-squashed", "gru")
@pytest.mark.parametrize("name", ["mlp-squashed", "cnn", "gru", "ode", "ode-gru", "cde"])
def test_plain_grad_reaches_every_leaf(name):
    agent, xs = agent_of(name), observations(name)
    actions = jax.vmap(SPACES[name][1].sample)(jax.random.split(KEY, TIME))

    @jax.jit
    @jax.grad
    def gradient(agent):
        _, outputs = agent.unroll(agent.initial_memory(), xs, jnp.zeros(TIME, bool), KEY)
        distributions, values = outputs.distribution, outputs.value
        log_probs = jax.vmap(lambda d, a: d.log_prob(a))(distributions, actions)
        return jnp.sum(log_probs) + jnp.sum(values**2)

    for leaf in jax.tree.leaves(gradient(agent)):
        assert jnp.all(jnp.isfinite(leaf))
        assert jnp.any(leaf != 0)


@pytest.mark.slow
def test_agents_are_made_and_used_under_vmap():
    keys = jax.random.split(KEY, 2)
    agents = jax.jit(jax.vmap(lambda key: make_agent("gru", key)))(keys)
    xs, never = observations("gru"), jnp.zeros(TIME, bool)
    values = jax.jit(jax.vmap(unroller("gru"), in_axes=(0, None, None)))(agents, xs, never)[1].value
    alone = jax.tree.map(lambda x: x[1], agents)
    wanted = unroller("gru")(alone, xs, never)[1].value
    np.testing.assert_allclose(values[1], wanted, rtol=1e-5)


@pytest.mark.quick("gru")
@pytest.mark.parametrize("name", ["mlp", "gru", "ode", "cde"])
def test_the_first_ratio_is_one(name):
    """What acting computed, step by step, and what a loss computes, trajectory by trajectory.

    On the machine this was written on they are the same floats in batches of up to 64. How
    XLA orders a sum is its own affair, so the last bits are left to it.
    """
    agent, batch = agent_of(name), 4
    xs = jax.vmap(lambda key: observations(name, key))(jax.random.split(KEY, batch))
    actions = jax.vmap(jax.vmap(SPACES[name][1].sample))(jax.random.split(KEY, (batch, TIME)))
    never = jnp.zeros((batch, TIME), bool)

    @jax.jit
    def acting(agent, xs, actions):
        def one(memory, inputs):
            x, action = inputs
            memory, output = agent.step(memory, x, KEY)
            return memory, output.distribution.log_prob(action)

        def each(xs, actions):
            return jax.lax.scan(one, agent.initial_memory(), (xs, actions))[1]

        return jax.vmap(each)(xs, actions)

    @jax.jit
    def learning(agent, xs, actions):
        def each(xs, actions, resets):
            _, outputs = agent.unroll(agent.initial_memory(), xs, resets, KEY)
            return jax.vmap(lambda d, a: d.log_prob(a))(outputs.distribution, actions)

        return jax.vmap(each)(xs, actions, never)

    ratio = jnp.exp(learning(agent, xs, actions) - acting(agent, xs, actions))
    np.testing.assert_allclose(ratio, 1.0, atol=2e-6)
