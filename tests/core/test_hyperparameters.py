"""What is traced, what is structure, and optimisers and schedules whose numbers are leaves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib as contrib
import pytest

import lerax_fx as fx
from lerax_fx._core.hyperparameters import partition_agent

RATES = 0.1, 0.03
KEY = jax.random.key(0)
PARAMS = {"bias": jnp.array([0.5, -1.0]), "weight": jnp.arange(6.0).reshape(2, 3) / 3}
MASK = {"bias": False, "weight": True}
LABELS = {"bias": "slow", "weight": "fast"}

# Each as a function of its learning rate: first ours, then the same as Optax makes it.
OPTIMIZERS = {
    "sgd": (lambda r: fx.optimizer(optax.sgd, r), lambda r: optax.sgd(r)),
    "momentum": (
        lambda r: fx.optimizer(optax.sgd, r, momentum=0.9, nesterov=True),
        lambda r: optax.sgd(r, momentum=0.9, nesterov=True),
    ),
    "adam": (
        lambda r: fx.optimizer(optax.adam, learning_rate=r, b1=0.8),
        lambda r: optax.adam(r, b1=0.8),
    ),
    "adamw": (
        lambda r: fx.optimizer(optax.adamw, r, weight_decay=0.1, mask=MASK),
        lambda r: optax.adamw(r, weight_decay=0.1, mask=MASK),
    ),
    "lamb": (lambda r: fx.optimizer(optax.lamb, r), lambda r: optax.lamb(r)),
    "chain": (
        lambda r: fx.optimizer(
            optax.chain, fx.optimizer(optax.clip_by_global_norm, 0.5), fx.optimizer(optax.radam, r)
        ),
        lambda r: optax.chain(optax.clip_by_global_norm(0.5), optax.radam(r)),
    ),
    "masked": (
        lambda r: fx.optimizer(optax.masked, fx.optimizer(optax.sgd, r), MASK),
        lambda r: optax.masked(optax.sgd(r), MASK),
    ),
    "schedule": (
        lambda r: fx.optimizer(optax.rmsprop, fx.schedule(optax.linear_schedule, r, 0.0, 2)),
        lambda r: optax.rmsprop(optax.linear_schedule(r, 0.0, 2)),
    ),
    "contrib": (
        lambda r: fx.optimizer(contrib.schedule_free_sgd, r),
        lambda r: contrib.schedule_free_sgd(r),
    ),
}


class Rows(fx.Transform[None, jax.Array]):
    """The same data in each update."""

    def init(self, agent, data, key):
        return ()

    def update(self, agent, state, data, key):
        return fx.Step(agent, state, jnp.array([[0.3, -0.4, 1.0]]))


def squares(agent, data, key):
    parts = (agent["bias"] ** 2).sum() + ((agent["weight"] - data) ** 2).sum()
    return {"value": 0.5 * parts}


@fx.loss_term(squares)
def distance(evaluation, data: jax.Array):
    return evaluation["value"]


def trained(optimizer, updates=3):
    algorithm = fx.chain(Rows(), fx.minimize(distance(), optimizer))
    return fx.anakin_loop(algorithm, updates)(PARAMS, KEY)[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_makes_the_updates_that_optax_makes(name):
    ours, optax_s = (make(RATES[0]) for make in OPTIMIZERS[name])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        trained(ours),
        trained(optax_s),
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_another_rate_is_another_number_in_the_same_structure(name):
    (numbers, structure), (others, other) = (
        fx.partition(OPTIMIZERS[name][0](rate)) for rate in RATES
    )
    assert structure == other
    assert hash(structure) == hash(other)
    assert numbers != others
    # Optax's own is structure: made twice, it is two.
    first, second = (fx.partition(OPTIMIZERS[name][1](RATES[0])) for _ in RATES)
    assert first[0] == []
    assert first[1] != second[1]


def test_gradients_reach_the_rate_and_vmap_runs_over_it():
    def final(rate):
        return trained(fx.optimizer(optax.adam, rate, eps_root=1e-8))["bias"][0]

    slope = (final(0.1 + 1e-3) - final(0.1 - 1e-3)) / 2e-3
    np.testing.assert_allclose(jax.grad(final)(0.1), slope, rtol=1e-3)
    together = jax.vmap(final)(jnp.array(RATES))
    np.testing.assert_allclose(together, [final(rate) for rate in RATES], rtol=1e-5)


def test_only_what_acts_on_each_number_is_flattened():
    def state_of(optimizer):
        return fx.minimize(distance(), optimizer).init(PARAMS, lambda: None, KEY)

    assert {leaf.shape for leaf in jax.tree.leaves(state_of(OPTIMIZERS["adam"][0](0.1)))} == {
        (8,),
        (),
    }
    masked = fx.optimizer(optax.masked, fx.optimizer(optax.adam, 0.1), MASK)
    for optimizer in (OPTIMIZERS["adamw"][0](0.1), OPTIMIZERS["lamb"][0](0.1), masked):
        assert (2, 3) in {leaf.shape for leaf in jax.tree.leaves(state_of(optimizer))}


def same_program(*stages):
    return len({fx.partition(stage)[1] for stage in stages}) == 1


def test_equal_structure_built_twice_is_one_structure():
    def build(rate):
        agent = {"critic": 1}
        del agent
        return fx.chain(
            fx.rollout(
                "CartPole-v1",
                num_envs=2,
                num_steps=2,
                explore=fx.epsilon_greedy(fx.schedule(optax.linear_schedule, rate, 0.05, 10)),
            ),
            fx.gae(discount=fx.schedule(optax.linear_schedule, rate, 0.99, 10)),
            critic=fx.minimize(fx.value_loss(), fx.optimizer(optax.adam, rate), part="critic"),
            actor=fx.minimize(fx.ppo_loss(), fx.optimizer(optax.sgd, rate), part="actor"),
        )

    assert same_program(build(0.5), build(0.25), build(np.float32(0.5)), build(jnp.asarray(0.5)))


def test_a_float_a_scalar_and_an_array_are_one_number():
    made = [
        fx.gae(discount=value) for value in (0.5, np.float32(0.5), np.array(0.5), jnp.array(0.5))
    ]
    assert same_program(*made)
    assert all(fx.partition(stage)[0] == [0.5, 0.95] for stage in made)


class Static(eqx.Module):
    n: object = eqx.field(static=True)


@pytest.mark.parametrize(
    "values", [(1, True), (1, 1.0), ((1, 2), (1.0, 2)), ({"a": 0}, {"a": False})]
)
def test_static_fields_that_only_compare_equal_are_two_structures(values):
    values = [v if not isinstance(v, dict) else tuple(v.items()) for v in values]
    assert values[0] == values[1]
    assert not same_program(*map(Static, values))
    assert same_program(Static(values[0]), Static(values[0]))


class Scaled(eqx.Module):
    """An agent with a Python float in it, and dropout, which asks for its rate in Python."""

    linear: eqx.nn.Linear
    dropout: eqx.nn.Dropout
    scale: float = 0.5


def test_floats_in_an_agent_are_constants():
    agent = Scaled(eqx.nn.Linear(2, 2, key=KEY), eqx.nn.Dropout(0.5))
    arrays, structure = partition_agent(agent)
    assert len(arrays) == 2
    assert fx.combine(arrays, structure).scale == 0.5

    def forward(agent, data, key):
        hidden = jax.vmap(agent.linear)(data[:, :2])
        return agent.scale * agent.dropout(hidden, key=key)

    @fx.loss_term(forward)
    def size(evaluation, data: jax.Array):
        return jnp.mean(evaluation**2)

    algorithm = fx.chain(Rows(), fx.minimize(size(), fx.optimizer(optax.sgd, 0.1)))
    after, _ = fx.anakin_loop(algorithm, 2)(agent, KEY)
    assert after.scale == 0.5
    assert isinstance(after.scale, float)
    assert not np.array_equal(after.linear.weight, agent.linear.weight)


def test_a_static_field_that_cannot_be_hashed_is_refused():
    with pytest.raises(fx.HyperparameterError, match="static fields: wanted hashable values"):
        fx.partition(Static([1, 2]))
