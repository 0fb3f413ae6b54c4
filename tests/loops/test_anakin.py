"""The training loop: pure, the same bits twice, vmapped, differentiated, resumed, compiled once."""

import io

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx
from lerax_fx.loops import anakin
from recipes import dqn, ppo, td3

SMALL = {"total_steps": 96, "num_envs": 4, "num_steps": 8, "num_epochs": 2, "num_minibatches": 2}
KEY = jax.random.key(0)


def small_ppo(env="CartPole-v1", key=KEY, **config):
    return ppo.make(env, key=key, **{**SMALL, **config})


def leaves(tree):
    leaves = jax.tree.leaves(tree)
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
        for x in leaves
    ]


def assert_same_bits(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(leaves(first), leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(first, second, **tolerance):
    for a, b in zip(leaves(first), leaves(second), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def test_metrics_have_one_value_per_update_and_count_steps():
    agent, train = small_ppo()
    trained, metrics = train(agent, KEY)
    assert train.num_updates == 3
    assert {x.shape for x in metrics.values()} == {(3,)}
    np.testing.assert_array_equal(metrics["steps"], [32, 64, 96])
    assert jax.tree.structure(trained) == jax.tree.structure(agent)
    changed = [
        not np.array_equal(a, b) for a, b in zip(leaves(agent), leaves(trained), strict=True)
    ]
    assert all(changed)


def test_the_same_key_gives_the_same_bits_and_another_key_others():
    agent, train = small_ppo()
    first, second = train(agent, KEY), train(agent, KEY)
    assert_same_bits(first, second)
    other, _ = train(agent, jax.random.key(1))
    assert not np.array_equal(leaves(first[0])[0], leaves(other)[0])


@pytest.mark.slow
def test_under_an_outer_jit_it_is_the_same_run():
    agent, train = small_ppo()
    compiled = jax.jit(train)
    assert_same_bits(compiled(agent, KEY), compiled(agent, KEY))
    assert_close(compiled(agent, KEY), train(agent, KEY), rtol=1e-4, atol=1e-5)


def test_vmapped_over_seeds_it_is_one_seed_at_a_time():
    agent, train = small_ppo(total_steps=64)
    keys = jax.random.split(KEY, 3)
    agents, curves = jax.vmap(train, in_axes=(None, 0))(agent, keys)
    for i in range(3):
        alone, curve = train(agent, keys[i])
        picked = jax.tree.map(lambda x, i=i: x[i], (agents, curves))
        assert_close(picked, (alone, curve), rtol=1e-3, atol=1e-4)


def test_steps_make_the_same_run_as_the_whole():
    agent, train = small_ppo()
    whole, curve = train(agent, KEY)
    state = train.init(agent, KEY)
    pieces = []
    for _ in range(3):
        state, metrics = train.step(state)
        pieces.append(metrics)
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *pieces)
    assert_same_bits((whole, curve), (state.agent, joined))


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "env"), [(dqn, "CartPole-v1"), (td3, "Pendulum-v1")])
def test_what_is_drawn_ahead_is_what_is_drawn_one_by_one(recipe, env):
    sizes = {"total_steps": 32, "num_envs": 2, "capacity": 64, "batch_size": 4, "warmup": 8}
    agent, train = recipe.make(env, key=KEY, **sizes)
    assert anakin._updates_ahead(train.algorithm, KEY, train.num_updates) == 16
    whole, curve = train(agent, KEY)
    state = train.init(agent, KEY)
    for i in range(16):
        state, metrics = train.step(state)  # a single update has nothing ahead of it
        assert_same_bits(metrics, jax.tree.map(lambda x, i=i: x[i : i + 1], curve))
    assert_same_bits(whole, state.agent)


@pytest.mark.quick("CartPole-v1")
@pytest.mark.parametrize(
    "env",
    [
        "CartPole-v1",
        "Pendulum-v1",
        pytest.param("Acrobot-v1", marks=pytest.mark.slow),
        pytest.param("MountainCar-v0", marks=pytest.mark.slow),
    ],
)
def test_new_episodes_are_the_same_drawn_ahead(env):
    env = fx.make(env, max_steps_in_episode=3)  # so that there are some
    agent = fx.actor_critic(env, key=KEY)
    train = fx.anakin_loop(fx.rollout(env, num_envs=3, num_steps=2), 16)
    begin = train.init(agent, KEY)
    assert anakin._updates_ahead(train.algorithm, KEY, 16) > 1
    together, curve = train.step(begin, 16)
    alone = begin
    for _ in range(16):
        alone, _ = train.step(alone)
    assert_same_bits(together, alone)
    assert np.isfinite(curve["episode_return"]).sum() >= 5


class Unforeseen(fx.Transform[None, None]):
    """Draws nothing, and says so by drawing it ahead."""

    def init(self, agent, data, key):
        return jnp.zeros((), jnp.int32)

    def draw_ahead(self, key):
        return ()

    def update(self, agent, state, data, key):
        assert key == ()
        return fx.Step(agent, state + 1, None, {"updates": state})


def test_nothing_may_be_drawn_ahead():
    agent, _ = small_ppo()
    _, metrics = fx.anakin_loop(Unforeseen(), 6)(agent, KEY)
    np.testing.assert_array_equal(metrics["unforeseen/updates"], np.arange(6))


class Unlucky(fx.Transform[None, fx.data.Rollout]):
    def init(self, agent, data, key):
        return ()

    def draw_ahead(self, key):
        raise ValueError("out of luck")

    def update(self, agent, state, data, key):
        raise AssertionError


@pytest.mark.parametrize("behind", [(), (fx.replay(fx.identity(), capacity=8, batch_size=2),)])
def test_a_stage_that_fails_to_draw_ahead_is_named(behind):
    agent, _ = small_ppo()
    with pytest.raises(ValueError, match="out of luck") as raised:
        fx.anakin_loop(fx.chain(Unlucky(), *behind), 2)(agent, KEY)
    assert any("'unlucky'" in note for note in raised.value.__notes__)


def test_as_many_are_drawn_ahead_as_fit_and_divide_the_run():
    def ahead(num_steps, num_updates):
        rollout = fx.rollout("CartPole-v1", num_envs=4, num_steps=num_steps)
        return anakin._updates_ahead(rollout, KEY, num_updates)

    assert [ahead(1, n) for n in (1, 7, 17, 48, 50)] == [1, 7, 1, 16, 10]
    assert 1 < ahead(16, 48) < 16
    assert ahead(1024, 48) == 1


@pytest.mark.quick("key")
@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_a_saved_run_goes_on_bit_for_bit(make_key):
    agent, train = small_ppo(key=make_key(3))
    state, _ = train.step(train.init(agent, make_key(3)), 1)
    expected, expected_metrics = train.step(state, 2)

    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, with_raw_keys(state))
    file.seek(0)
    empty_agent, again = small_ppo(key=make_key(9))
    like = again.init(empty_agent, make_key(9))
    restored = with_keys_of(eqx.tree_deserialise_leaves(file, with_raw_keys(like)), like)
    assert_same_bits(state, restored)
    assert_same_bits((expected, expected_metrics), again.step(restored, 2))


def with_raw_keys(state):
    """Files hold numbers: a typed key goes into one as its words."""
    return eqx.tree_at(lambda s: s.key, state, jax.random.key_data(state.key))


def with_keys_of(state, like):
    key = state.key
    if jnp.issubdtype(like.key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    return eqx.tree_at(lambda s: s.key, state, key)


@pytest.mark.slow
def test_a_step_compiled_ahead_and_donated_is_the_same_step():
    agent, train = small_ppo()
    expected = train.step(train.init(agent, KEY), 3)
    state = train.init(agent, KEY)
    ahead = train.compile_step(state, 3, donate=True)
    assert_same_bits(expected, ahead(state))
    assert_same_bits(expected, train.step(train.init(agent, KEY), 3, donate=True))


HYPERPARAMETERS = {
    "learning_rate": (1e-3, 5e-4),
    "discount": (0.9, 0.8),
    "lambda_": (0.8, 0.7),
    "clip": (1e-3, 2e-3),
    "value_weight": (0.4, 0.3),
    "entropy_weight": (0.02, 0.03),
    "max_grad_norm": (0.4, 0.3),
}


@pytest.mark.quick("True")
@pytest.mark.parametrize("anneal", [True, False])
def test_no_float_costs_a_compilation(anneal):
    agent, train = small_ppo(anneal=anneal)
    first, _ = train(agent, KEY)
    compiled = anakin._train._cache_size()
    # Without a schedule, only what the rate goes into is another program.
    for name in HYPERPARAMETERS if anneal else ["learning_rate", "max_grad_norm"]:
        value = HYPERPARAMETERS[name][0]
        changed, _ = small_ppo(anneal=anneal, **{name: value})[1](agent, KEY)
        assert anakin._train._cache_size() == compiled, name
        assert any(
            not np.array_equal(a, b) for a, b in zip(leaves(first), leaves(changed), strict=True)
        ), f"{name} has no effect"
    if anneal:
        small_ppo(num_epochs=3)[1](agent, KEY)
        assert anakin._train._cache_size() == compiled + 1, "structure does cost one"


@pytest.mark.slow
def test_any_float_can_be_vmapped_over():
    """In one batch, of which each row but the first has another value of one of them."""
    agent, _ = small_ppo()
    rows = [{name: values[0] for name, values in HYPERPARAMETERS.items()}]
    rows += [rows[0] | {name: values[1]} for name, values in HYPERPARAMETERS.items()]

    def run(config):
        _, train = small_ppo(total_steps=32, **config)
        return train(agent, KEY)[0]

    together = jax.vmap(run)({name: jnp.array([row[name] for row in rows]) for name in rows[0]})
    for i, row in enumerate(rows):
        picked = jax.tree.map(lambda x, i=i: x[i], together)
        assert_close(picked, run(row), rtol=1e-3, atol=1e-5)


def final_value(**config):
    """A return-like objective: what the trained critic expects of a first observation, and
    how likely the trained policy makes an action there.
    """
    env = fx.make("Pendulum-v1")
    # Without running statistics of rewards: no gradient goes through what is counted.
    agent, train = small_ppo(env, total_steps=64, normalize_reward=False, **config)
    trained, _ = train(agent, KEY)
    _, observation = env.reset(key=jax.random.key(7))
    _, output = trained.step(trained.initial_memory(), observation, KEY)
    return output.value + output.distribution.log_prob(jnp.ones(1))


@pytest.mark.slow
def test_gradients_reach_hyperparameters_through_training():
    values = {"discount": 0.9, "entropy_weight": 0.01, "lambda_": 0.9, "learning_rate": 1e-3}
    gradients = jax.grad(lambda values: final_value(**values))(values)
    for name, gradient in gradients.items():
        assert np.isfinite(gradient), name
        assert gradient != 0, name


@pytest.mark.slow
def test_the_gradient_is_that_of_finite_differences():
    with jax.enable_x64(True):
        gradient = jax.grad(lambda value: final_value(discount=value))(jnp.float64(0.9))
        step = 1e-6
        difference = final_value(discount=0.9 + step) - final_value(discount=0.9 - step)
        np.testing.assert_allclose(gradient, difference / (2 * step), rtol=1e-3)


@pytest.mark.slow
def test_gradients_reach_through_replay_and_adam_with_a_root():
    agent = fx.q_agent("CartPole-v1", key=KEY, widths=(16,))

    def loss(discount, eps_root):
        learn = fx.minimize(fx.q_loss(), fx.optimizer(optax.adam, 1e-3, eps_root=eps_root))
        inner = fx.chain(fx.td_target(discount=discount), learn)
        rollout = fx.rollout("CartPole-v1", num_envs=4, num_steps=4)
        algorithm = fx.chain(rollout, fx.replay(inner, capacity=64, batch_size=8))
        return fx.anakin_loop(algorithm, 6)(agent, KEY)[1]["minimize/loss"][-1]

    gradient = jax.grad(loss)(0.9, 1e-8)
    difference = loss(0.91, 1e-8) - loss(0.89, 1e-8)
    np.testing.assert_allclose(gradient, difference / 0.02, rtol=1e-3)
    # As docs/algebra.md says, and Optax: the slope of a root at 0.
    assert np.isnan(jax.grad(loss)(0.9, 0.0))


@pytest.mark.slow
def test_optimisers_made_anew_share_a_program():
    agent, _ = small_ppo()

    def algorithm(optimizer):
        return fx.chain(
            fx.rollout("CartPole-v1", num_envs=2, num_steps=4),
            fx.gae(),
            fx.minimize(fx.ppo_loss(), optimizer),
        )

    fx.anakin_loop(algorithm(fx.optimizer(optax.adam, 1e-3, b1=0.9)), 1)(agent, KEY)
    compiled = anakin._train._cache_size()
    fx.anakin_loop(algorithm(fx.optimizer(optax.adam, 1e-4, b1=0.8)), 1)(agent, KEY)
    assert anakin._train._cache_size() == compiled
    fx.anakin_loop(algorithm(fx.optimizer(optax.sgd, 1e-4)), 1)(agent, KEY)
    assert anakin._train._cache_size() == compiled + 1


@pytest.mark.slow
def test_an_agent_with_functions_for_leaves_trains_too():
    class Odd(eqx.Module):
        inner: fx.agents.AbstractActorCritic
        note: object = jnp.tanh

        def initial_memory(self):
            return self.inner.initial_memory()

        def step(self, memory, observation, key):
            return self.inner.step(memory, observation, key)

        def unroll(self, memory, observations, resets, key):
            return self.inner.unroll(memory, observations, resets, key)

    agent, train = small_ppo()
    odd, metrics = train(Odd(agent), KEY)
    plain, expected = train(agent, KEY)
    assert odd.note is jnp.tanh
    assert_same_bits((odd.inner, metrics), (plain, expected))


def test_steps_stay_at_the_largest_number_once_there():
    largest = np.iinfo(np.int32).max
    agent = fx.actor_critic("CartPole-v1", key=KEY)
    train = fx.anakin_loop(fx.rollout("CartPole-v1", num_envs=2, num_steps=5), 3)
    state = train.init(agent, KEY)
    state = eqx.tree_at(
        lambda s: s.algorithm["rollout"].steps, state, jnp.asarray(largest - 15, jnp.int32)
    )
    _, metrics = train.step(state, 3)
    assert metrics["steps"].tolist() == [largest - 5, largest, largest]
