"""Optax's optimisers, taken apart and made again around other numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib as contrib
import pytest

import lerax_fx as fx

RATES = 0.1, 0.03

MASK = {"bias": False, "weight": True}
LABELS = {"bias": "slow", "weight": "fast"}


def every_other(step):
    return step % 2 == 0


def called_before(schedule):
    # Some schedules change a cell of theirs when they are called.
    schedule(0)
    return schedule


def accumulated(optimizer, **options):
    return optax.MultiSteps(optimizer, 2, **options).gradient_transformation()


# Each as a function of its learning rate. Options that switch code on are on in one of them.
ALIASES = {
    "sgd": lambda r: optax.sgd(r),
    "sgd, momentum": lambda r: optax.sgd(r, momentum=0.9),
    "sgd, nesterov": lambda r: optax.sgd(r, momentum=0.9, nesterov=True),
    "adam": lambda r: optax.adam(r),
    "adam, bfloat16": lambda r: optax.adam(r, mu_dtype=jnp.bfloat16),
    "adamw": lambda r: optax.adamw(r),
    "adamw, no decay": lambda r: optax.adamw(r, weight_decay=0.0),
    "adamax": lambda r: optax.adamax(r),
    "nadam": lambda r: optax.nadam(r),
    "rmsprop": lambda r: optax.rmsprop(r),
    "rmsprop, centered": lambda r: optax.rmsprop(
        r, centered=True, momentum=0.9, nesterov=True, bias_correction=True
    ),
    "adagrad": lambda r: optax.adagrad(r),
    "adadelta": lambda r: optax.adadelta(r),
    "lion": lambda r: optax.lion(r),
    "lamb": lambda r: optax.lamb(r),
    "lars": lambda r: optax.lars(r, weight_decay=0.1),
    "radam": lambda r: optax.radam(r),
    "yogi": lambda r: optax.yogi(r),
    "novograd": lambda r: optax.novograd(r, weight_decay=0.1),
    "adafactor": lambda r: optax.adafactor(
        r, min_dim_size_to_factor=2, momentum=0.9, weight_decay_rate=0.01
    ),
    "sm3": lambda r: optax.sm3(r),
    "amsgrad": lambda r: optax.amsgrad(r),
    "adabelief": lambda r: optax.adabelief(r),
    "adan": lambda r: optax.adan(r),
    "fromage": lambda r: optax.fromage(r),
    "rprop": lambda r: optax.rprop(r),
    "sign_sgd": lambda r: optax.sign_sgd(r),
    "noisy_sgd": lambda r: optax.noisy_sgd(r, key=jax.random.key(1)),
    "optimistic_adam_v2": lambda r: optax.optimistic_adam_v2(r),
    "optimistic_gradient_descent": lambda r: optax.optimistic_gradient_descent(r),
}

CHAINS = {
    "clip": lambda r: optax.chain(optax.clip(10 * r), optax.sgd(r)),
    "clip_by_global_norm": lambda r: optax.chain(optax.clip_by_global_norm(10 * r), optax.adam(r)),
    "clip_by_block_rms": lambda r: optax.chain(optax.clip_by_block_rms(0.5), optax.sgd(r)),
    "adaptive_grad_clip": lambda r: optax.chain(optax.adaptive_grad_clip(0.1), optax.sgd(r)),
    "add_decayed_weights": lambda r: optax.chain(optax.add_decayed_weights(0.1), optax.sgd(r)),
    "centralize": lambda r: optax.chain(optax.centralize(), optax.sgd(r)),
    "ema": lambda r: optax.chain(optax.ema(0.9), optax.sgd(r)),
    "zero_nans": lambda r: optax.chain(optax.zero_nans(), optax.sgd(r)),
    "param_block_norm": lambda r: optax.chain(optax.scale_by_param_block_norm(), optax.sgd(r)),
    "stddev": lambda r: optax.chain(optax.scale_by_stddev(), optax.sgd(r)),
    "apply_every": lambda r: optax.chain(optax.apply_every(2), optax.sgd(r)),
    "keep_params_nonnegative": lambda r: optax.chain(optax.sgd(r), optax.keep_params_nonnegative()),
    "named_chain": lambda r: optax.named_chain(("clip", optax.clip(0.5)), ("sgd", optax.sgd(r))),
}

WRAPPERS = {
    "flatten": lambda r: optax.flatten(optax.adam(r)),
    "masked": lambda r: optax.masked(optax.adam(r), MASK),
    "multi_transform": lambda r: optax.multi_transform(
        {"fast": accumulated(optax.adam(r)), "slow": optax.sgd(r / 10)}, LABELS
    ),
    "MultiSteps": lambda r: accumulated(optax.adam(r)),
    "MultiSteps, skipping": lambda r: accumulated(
        optax.adam(r),
        should_skip_update_fn=functools.partial(optax.skip_large_updates, max_squared_norm=1e3 * r),
    ),
    "apply_if_finite": lambda r: optax.apply_if_finite(optax.adam(r), 3),
    "conditionally_transform": lambda r: optax.conditionally_transform(optax.sgd(r), every_other),
    "inject_hyperparams": lambda r: optax.inject_hyperparams(optax.adam)(learning_rate=r),
    "inject_hyperparams, static": lambda r: optax.inject_hyperparams(
        optax.adamw, static_args="weight_decay"
    )(learning_rate=r),
    "inject_hyperparams, schedule": lambda r: optax.inject_hyperparams(optax.adam)(
        learning_rate=optax.linear_schedule(r, 0.0, 4)
    ),
    "lookahead": lambda r: optax.lookahead(optax.adam(r), 2, 0.5, reset_state=True),
}

SCHEDULES = {
    "constant": lambda r: optax.constant_schedule(r),
    "linear": lambda r: optax.linear_schedule(r, r / 10, 3),
    "polynomial": lambda r: optax.polynomial_schedule(r, r / 10, 2.0, 3),
    "cosine": lambda r: optax.cosine_decay_schedule(r, 3, 0.1),
    "cosine, float steps": lambda r: optax.cosine_decay_schedule(r, 3.0),
    "cosine, called before": lambda r: called_before(optax.cosine_decay_schedule(r, 3)),
    "exponential": lambda r: optax.exponential_decay(r, 2, 0.5),
    "exponential, staircase": lambda r: optax.exponential_decay(r, 2, 0.5, staircase=True),
    "exponential, end": lambda r: optax.exponential_decay(r, 2, 0.5, end_value=0.6 * r),
    "warmup cosine": lambda r: optax.warmup_cosine_decay_schedule(r / 10, r, 1, 3),
    "warmup exponential": lambda r: optax.warmup_exponential_decay_schedule(r / 10, r, 1, 2, 0.5),
    "piecewise constant": lambda r: optax.piecewise_constant_schedule(r, {1: 0.5, 2: 0.1}),
    "piecewise interpolate": lambda r: optax.piecewise_interpolate_schedule("cosine", r, {2: 0.5}),
    "linear onecycle": lambda r: optax.linear_onecycle_schedule(3, r),
    "join": lambda r: optax.join_schedules(
        [optax.constant_schedule(r), optax.linear_schedule(r, 0.0, 3)], [1]
    ),
    "sgdr": lambda r: optax.sgdr_schedule(
        [{"init_value": 0.01, "peak_value": r, "warmup_steps": 1, "decay_steps": 2}] * 2
    ),
    "anneal": lambda r: fx.anneal(r, num_updates=4),
}

CONTRIB = {
    "schedule_free_sgd": lambda r: contrib.schedule_free_sgd(r, warmup_steps=2),
    "schedule_free_adamw": lambda r: contrib.schedule_free_adamw(r, weight_decay=0.1),
    "muon": lambda r: contrib.muon(r),
    "prodigy": lambda r: contrib.prodigy(r),
    "dowg": lambda r: contrib.dowg(r, init_estim_sq_dist=r),
    "cocob": lambda r: contrib.cocob(alpha=100 * r),
    "mechanize": lambda r: contrib.mechanize(optax.sgd(0.1), s_init=r),
    "acprop": lambda r: contrib.acprop(r),
    "ademamix": lambda r: contrib.ademamix(r),
    "adopt": lambda r: contrib.adopt(r),
    "sam": lambda r: contrib.sam(
        optax.sgd(r), optax.chain(contrib.normalize(), optax.sgd(0.05)), sync_period=2
    ),
}

# These want to know the objective too.
INFORMED = {
    "lbfgs": lambda r: optax.lbfgs(r),
    "backtracking": lambda r: optax.chain(
        optax.sgd(r), optax.scale_by_backtracking_linesearch(5, decrease_factor=0.7)
    ),
    "polyak_sgd": lambda r: optax.polyak_sgd(r),
    "momo_adam": lambda r: contrib.momo_adam(r),
    "reduce_on_plateau": lambda r: optax.chain(
        optax.sgd(r), contrib.reduce_on_plateau(0.5, patience=1)
    ),
}


def scheduled(make):
    return lambda rate: optax.sgd(make(rate))


OPTIMIZERS = {
    **ALIASES,
    **CHAINS,
    **WRAPPERS,
    **CONTRIB,
    **INFORMED,
    **{f"{name} schedule": scheduled(make) for name, make in SCHEDULES.items()},
    "decay schedule": lambda r: optax.chain(
        optax.add_decayed_weights(optax.linear_schedule(0.1, 0.01, 3)), optax.sgd(r)
    ),
    "scale_by_schedule": lambda r: optax.scale_by_schedule(optax.linear_schedule(-r, 0.0, 4)),
}


def trees(seed, name, *axes):
    draw = np.random.default_rng(seed).normal
    weight = {"weight": draw(size=(*axes, 2, 3))}
    # Half the arrays, half the time to compile: a second one is for those that tell them apart.
    return weight | {"bias": draw(size=(*axes, 3))} if name in WRAPPERS else weight


def objective(params, target):
    squares = jax.tree.map(lambda p, t: jnp.sum((p - t) ** 2), params, target)
    return 0.5 * sum(jax.tree.leaves(squares))


def run(optimizer, name=""):
    """The updates of 3 steps along noisy gradients, in a scan as in training."""
    params, targets = jax.tree.map(jnp.asarray, (trees(0, name), trees(1, name, 3)))
    if name == "lookahead":
        params = optax.LookaheadParams.init_synced(params)

    def step(carry, target):
        params, state = carry
        value_fn = functools.partial(objective, target=target)
        value, grad = jax.value_and_grad(value_fn)(getattr(params, "fast", params))
        known = {"value": value, "grad": grad, "value_fn": value_fn}
        extra = known if name in INFORMED else {}
        updates, state = optimizer.update(grad, state, params, **extra)
        return (optax.apply_updates(params, updates), state), updates

    return jax.lax.scan(step, (params, optimizer.init(params)), targets)[1]


@functools.partial(jax.jit, static_argnums=(1, 2))
def run_again(numbers, structure, name=""):
    return run(fx.combine(numbers, structure), name)


def same(first, second):
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in leaves)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_another_rate_is_another_number_in_the_same_structure(name):
    (numbers, structure), (others, other) = (fx.partition(OPTIMIZERS[name](r)) for r in RATES)
    assert structure == other
    assert hash(structure) == hash(other)
    changed = [np.any(a != b) for a, b in zip(numbers, others, strict=True)]
    assert any(changed), "no learning rate among the numbers"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_program_compiled_for_one_rate_makes_the_updates_of_another(name):
    # In double precision, because Python computes in it: there `1 - b2` is the same number
    # whether Python or the program computes it, in single precision it is not (Adam: 7e-6).
    with jax.enable_x64(True):
        first, second = (OPTIMIZERS[name](rate) for rate in RATES)
        before = run_again(*fx.partition(first), name)
        compiled = run_again._cache_size()
        updates = run_again(*fx.partition(second), name)
        assert run_again._cache_size() == compiled
        expected = jax.jit(lambda: run(second, name))()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), updates, expected
    )
    assert not same(before, updates), "the rate has no effect, so this shows nothing"


GRADIENTS = (
    "adam",
    "sm3",
    "MultiSteps",
    "inject_hyperparams, schedule",
    "exponential schedule",
    "schedule_free_adamw",
)


@functools.partial(jax.jit, static_argnums=0)
def slope(updates, rate):
    """The derivative of the squared length of `updates(rate)`."""
    length = functools.partial(jax.tree.reduce, lambda total, u: total + jnp.sum(u**2))
    return jax.grad(lambda rate: length(updates(rate), 0.0))(rate)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_reach_the_rate(name):
    make = OPTIMIZERS[name]
    structure = fx.partition(make(RATES[0]))[1]

    def taken_apart(rate):
        return run(fx.combine(fx.partition(make(rate))[0], structure), name)

    with jax.enable_x64(True):
        ours = float(slope(taken_apart, RATES[1]))
        expected = float(slope(lambda rate: run(make(rate), name), RATES[1]))
    assert np.isfinite(ours)
    assert ours != 0
    np.testing.assert_allclose(ours, expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["adam", "cosine schedule", "inject_hyperparams", "MultiSteps"])
def test_numbers_leave_small_floats_small(name):
    # Numbers that were strong float32 would make float32 of the updates.
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), trees(0, name))
    optimizer = OPTIMIZERS[name](RATES[0])
    numbers, structure = fx.partition(optimizer)

    def update(numbers):
        optimizer = fx.combine(numbers, structure)
        return optimizer.update(params, optimizer.init(params), params)[0]

    dtypes = {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(update, numbers))}
    assert dtypes == {jnp.dtype(jnp.bfloat16)}


OPTIONS = {
    "the optimiser": (optax.sgd(0.1), optax.adam(0.1)),
    "a flag": (optax.adam(0.1), optax.adam(0.1, nesterov=True)),
    "a mask": (optax.masked(optax.sgd(0.1), MASK), optax.masked(optax.sgd(0.1), False)),
    "a dtype": (optax.adam(0.1), optax.adam(0.1, mu_dtype=jnp.bfloat16)),
    "the steps of a schedule": (
        optax.sgd(optax.linear_schedule(0.1, 0.0, 3)),
        optax.sgd(optax.linear_schedule(0.1, 0.0, 4)),
    ),
    "the end of a schedule": (
        optax.sgd(optax.exponential_decay(0.1, 2, 0.5)),
        optax.sgd(optax.exponential_decay(0.1, 2, 0.5, end_value=0.05)),
    ),
    "the steps of MultiSteps": tuple(
        optax.MultiSteps(optax.sgd(0.1), k).gradient_transformation() for k in (2, 3)
    ),
    "the optimiser in MultiSteps": (accumulated(optax.sgd(0.1)), accumulated(optax.lion(0.1))),
    "a number or a schedule": (
        OPTIMIZERS["inject_hyperparams"](0.1),
        OPTIMIZERS["inject_hyperparams, schedule"](0.1),
    ),
    "a number that Optax asks for in Python": (
        optax.scale_by_sm3(b2=1.0),
        optax.scale_by_sm3(b2=0.9),
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_structure(name):
    first, second = (fx.partition(optimizer)[1] for optimizer in OPTIONS[name])
    assert first != second


@pytest.mark.parametrize("b2", [1.0, 0.9])
def test_a_number_that_optax_asks_for_in_python_stays_in_its_place(b2):
    optimizer = optax.scale_by_sm3(0.8, b2)
    numbers, structure = fx.partition(optimizer)
    assert {*numbers} == {0.8, 1e-8}
    with jax.enable_x64(True):
        assert same(run_again(numbers, structure), jax.jit(lambda: run(optimizer))())


def test_functions_from_elsewhere_stay_closed():
    def schedule(rate):
        return lambda count: rate / (count + 1)

    first, second = (optax.sgd(schedule(rate)) for rate in RATES)
    (numbers, structure), (_, other) = fx.partition(first), fx.partition(second)
    assert numbers == []
    assert structure != other
    with jax.enable_x64(True):
        for optimizer in (first, second):
            updates = run_again(*fx.partition(optimizer))
            assert same(updates, jax.jit(lambda o=optimizer: run(o))())


def test_the_original_is_left_as_it_was():
    inner = optax.MultiSteps(optax.adam(0.1), 2)
    optimizer = inner.gradient_transformation()
    numbers, structure = fx.partition(optimizer)
    fx.combine([2 * number for number in numbers], structure)
    assert optimizer.update.__self__ is inner
    assert fx.partition(optimizer) == (numbers, structure)


@pytest.mark.parametrize("name", ["adam", "MultiSteps"])
def test_names_end_in_the_variable(name):
    update = OPTIMIZERS[name](0.1).update
    named = {path.split("/")[-1]: x for path, x in fx.named_hyperparameters(update).items()}
    expected = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0, "step_size": -0.1}
    assert named == expected
