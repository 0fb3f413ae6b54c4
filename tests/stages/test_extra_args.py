"""Optimisers that want more than the gradient, against Optax called as its documentation says."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib as contrib
import pytest

import lerax_fx as fx

KEY = jax.random.key(0)
DATA = jnp.array([0.5, -1.0, 2.0])
STEPS = 4


class Weights(eqx.Module):
    weight: jax.Array
    bias: jax.Array


AGENT = Weights(jnp.ones(3), jnp.zeros(()))


@fx.loss_term(lambda agent, data, key: agent.weight * data + agent.bias)
def squared_error(prediction: jax.Array, data: jax.Array) -> fx.typing.Scalar:
    return jnp.mean((prediction - 2.0 * data) ** 2)


def loss_of(agent):
    return squared_error()(agent, DATA, KEY)[0]


def adversary():
    return optax.chain(contrib.normalize(), optax.sgd(0.05))


def values(params, value, grad):
    return {"value": value, "grad": grad, "value_fn": loss_of}


def value_only(params, value, grad):
    return {"value": value}


def nothing(params, value, grad):
    return {}


# Each with the arguments that Optax's documentation passes to its update.
OPTIMIZERS = {
    "adam": (lambda: optax.adam(0.1), nothing),
    "lbfgs": (lambda: optax.lbfgs(), values),
    "backtracking": (
        lambda: optax.chain(optax.sgd(0.5), optax.scale_by_backtracking_linesearch(5)),
        values,
    ),
    "polyak_sgd": (lambda: optax.polyak_sgd(), value_only),
    "polyak_sgd, injected": (
        lambda: optax.inject_hyperparams(optax.polyak_sgd)(max_learning_rate=0.1),
        value_only,
    ),
    "momo": (lambda: contrib.momo(0.1), value_only),
    "momo_adam": (lambda: contrib.momo_adam(0.1), value_only),
    "reduce_on_plateau": (
        lambda: optax.chain(optax.sgd(0.9), contrib.reduce_on_plateau(patience=1)),
        value_only,
    ),
    "MultiSteps": (
        lambda: optax.MultiSteps(optax.polyak_sgd(), 2).gradient_transformation(),
        value_only,
    ),
    "sophia": (lambda: contrib.sophia(0.1), lambda params, value, grad: {"obj_fn": loss_of}),
    "sam": (lambda: contrib.sam(optax.sgd(0.1), adversary()), nothing),
    "sam, opaque": (
        lambda: optax.chain(
            optax.clip(1.0), contrib.sam(optax.sgd(0.1), adversary(), opaque_mode=True)
        ),
        lambda params, value, grad: {"grad_fn": lambda params, _: jax.grad(loss_of)(params)},
    ),
}


@pytest.mark.quick("adam", "backtracking", "polyak_sgd, injected", "MultiSteps")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_optax_by_hand(name):
    make, extra_args = OPTIMIZERS[name]
    optimizer = make()
    stage = fx.minimize(squared_error(), optimizer)

    def ours(carry, _):
        step = stage.update(*carry, DATA, KEY)
        return (step.agent, step.state), None

    def theirs(carry, _):
        params, state = carry
        value, grad = jax.value_and_grad(loss_of)(params)
        extra = extra_args(params, value, grad)
        updates, state = optimizer.update(grad, state, params, **extra)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run():
        one, _ = jax.lax.scan(ours, (AGENT, stage.init(AGENT, lambda: None, KEY)), None, STEPS)
        other, _ = jax.lax.scan(theirs, (AGENT, optimizer.init(AGENT)), None, STEPS)
        return one[0], other[0]

    one, other = run()
    assert not eqx.tree_equal(other, AGENT)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_monitor_measures():
    measures = {"norm": optax.tree.norm, "mean": optax.measure_with_ema(optax.tree.norm, 0.5)}
    optimizer = optax.chain(optax.monitor(measures), optax.sgd(0.1))
    stage = fx.minimize(squared_error(), optimizer)
    start = stage.init(AGENT, lambda: None, KEY)
    assert jnp.isnan(optax.tree.get(start, "norm"))

    def one(carry, _):
        step = stage.update(*carry, DATA, KEY)
        return (step.agent, step.state), jax.grad(loss_of)(carry[0])

    (_, state), gradients = jax.lax.scan(one, (AGENT, start), None, 2)
    last = jax.tree.map(lambda g: g[-1], gradients)
    np.testing.assert_allclose(optax.tree.get(state, "norm"), optax.tree.norm(last), rtol=1e-5)


def needs_another(updates, state, params=None, *, hessian, **extra):
    return updates, state


REFUSED = {
    "lookahead": lambda: optax.lookahead(optax.sgd(0.1), 2, 0.5),
    "lookahead in a chain": lambda: optax.chain(
        optax.clip(1.0), optax.lookahead(optax.sgd(0.1), 2, 0.5)
    ),
    "private": lambda: contrib.dpsgd(0.1, 1.0, 1.0, 0),
    "flattened": lambda: optax.flatten(optax.lbfgs()),
    "of one's own": lambda: optax.GradientTransformationExtraArgs(lambda p: (), needs_another),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_refused_in_words(name):
    stage = fx.minimize(squared_error(), REFUSED[name]())
    with pytest.raises(fx.WiringError, match="minimize: optimizer"):
        jax.eval_shape(
            lambda: stage.update(AGENT, stage.init(AGENT, lambda: None, KEY), DATA, KEY).agent
        )
