"""Recipes: importable, configurable by the names that they promise, and quick to fail."""

import inspect
import json
import os
import runpy
import subprocess
import sys

import gymnax
import jax
import numpy as np
import pytest

import lerax_fx as fx
from recipes import (
    a2c,
    c51,
    ddpg,
    dqn,
    nde_model,
    nde_ppo,
    ppo,
    pqn,
    qr_dqn,
    sac,
    shell,
    td3,
)

KEY = jax.random.key(0)
PPO = {
    "total_steps",
    "num_envs",
    "num_steps",
    "num_epochs",
    "num_minibatches",
    "learning_rate",
    "anneal",
    "discount",
    "lambda_",
    "clip",
    "clip_value",
    "value_weight",
    "entropy_weight",
    "max_grad_norm",
    "normalize_reward",
}
ON_POLICY = {"total_steps": 16, "num_envs": 2, "num_steps": 4}
EPOCHS = {**ON_POLICY, "num_epochs": 1, "num_minibatches": 2}
OFF_POLICY = {
    "total_steps": 16,
    "num_envs": 2,
    "num_steps": 1,
    "warmup": 4,
    "capacity": 16,
    "batch_size": 4,
    "n": 2,
}
WIDTH = {**OFF_POLICY, "width": 8}
MODEL = {
    **{name: size for name, size in WIDTH.items() if name != "n"},
    "updates_per_step": 2,
    "horizon": 2,
    "num_samples": 4,
    "num_elites": 2,
    "num_iterations": 2,
    "window": 2,
}
RNN = {**EPOCHS, "width": 8}
PENDULUM, BREAKOUT = gymnax.make("Pendulum-v1")[0], fx.make("Breakout-MinAtar")
# With the algorithm, and an environment and sizes to train with.
RECIPES = {
    ppo: (ppo.ppo, PENDULUM, EPOCHS),
    a2c: (a2c.a2c, BREAKOUT, ON_POLICY),
    nde_ppo: (ppo.ppo, "CartPole-v1", {**RNN, "max_interval": 3}),
    pqn: (pqn.pqn, "CartPole-v1", EPOCHS),
    dqn: (dqn.dqn, "CartPole-v1", OFF_POLICY),
    c51: (c51.c51, "CartPole-v1", OFF_POLICY),
    qr_dqn: (c51.c51, "CartPole-v1", OFF_POLICY),
    td3: (td3.td3, "Pendulum-v1", WIDTH),
    ddpg: (td3.td3, "MountainCarContinuous-v0", WIDTH),
    sac: (sac.sac, "Pendulum-v1", WIDTH),
    nde_model: (nde_model.nde_model, "Pendulum-v1", MODEL),
}
# The others train in the tests of the shell below and in those of loops, agents and stages.
QUICK = (c51, td3)
TRAINED = [
    pytest.param(recipe, marks=() if recipe in QUICK else pytest.mark.slow) for recipe in RECIPES
]
# What has to trace besides; that it compiles, the tests of the stages say.
DQN_OPTIONS = {"double": True, "dueling": True, "prioritized": True}
MODEL_OPTIONS = {"latent": 5, "termination": True}
TRACED = {
    "ppo": (ppo, PENDULUM, EPOCHS),
    "ppo of images": (ppo, BREAKOUT, EPOCHS),
    "a2c of images": (a2c, BREAKOUT, ON_POLICY),
    "pqn of images": (pqn, BREAKOUT, EPOCHS),
    "dqn of images": (dqn, BREAKOUT, OFF_POLICY),
    "dqn with everything": (dqn, "CartPole-v1", {**OFF_POLICY, **DQN_OPTIONS}),
    "c51 of images": (c51, BREAKOUT, OFF_POLICY),
    "qr_dqn": (qr_dqn, "CartPole-v1", OFF_POLICY),
    "td3": (td3, "MountainCarContinuous-v0", WIDTH),
    "sac of discrete actions": (sac, "CartPole-v1", WIDTH),
    "latent model": (nde_model, "Pendulum-v1", {**MODEL, **MODEL_OPTIONS}),
    **{
        f"nde_ppo of {cell}": (nde_ppo, "CartPole-v1", {**RNN, "cell": cell, "max_interval": 3})
        for cell in nde_ppo.CELLS
    },
}


def name_of(recipe):
    return recipe.__name__.removeprefix("recipes.")


each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=name_of)


@pytest.mark.parametrize("recipe", TRAINED, ids=[name_of(recipe) for recipe in RECIPES])
def test_it_trains_all_of_its_agent(recipe):
    _, env, sizes = RECIPES[recipe]
    agent, train = recipe.make(env, key=KEY, **sizes)
    trained, metrics = train(agent, KEY)
    per_update = sizes["num_envs"] * sizes["num_steps"]
    np.testing.assert_array_equal(metrics["steps"], range(per_update, 17, per_update))
    assert {"episode_return", "episode_length"} <= set(metrics)
    before, after = (jax.tree.leaves(tree) for tree in (agent, trained))
    assert all(np.isfinite(leaf).all() for leaf in after)
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    if recipe in (td3, ddpg, sac):
        # Of TD3's updates that learn, the first is one of the actor too, and then every other.
        critic, actor = (np.isfinite(metrics[f"{part}/loss"]) for part in ("critic", "actor"))
        learns = np.arange(1, 9) * per_update >= sizes["warmup"]
        np.testing.assert_array_equal(critic, learns)
        np.testing.assert_array_equal(
            actor, learns & (np.cumsum(learns) % 2 == 1) if recipe is td3 else learns
        )
    if recipe is nde_model:
        assert not metrics["minimize/failed"][1:].any()


@pytest.mark.quick("dqn with everything", "sac of discrete actions", "nde_ppo of linear_cde")
@pytest.mark.parametrize("name", TRACED)
def test_it_takes_other_environments_and_options(name):
    recipe, env, sizes = TRACED[name]

    def run(key):
        agent, train = recipe.make(env, key=key, **sizes)
        return agent, train(agent, key)

    agent, (trained, metrics) = jax.eval_shape(run, KEY)
    assert jax.tree.structure(agent) == jax.tree.structure(trained)
    assert {leaf.shape for leaf in jax.tree.leaves(metrics)} == {metrics["steps"].shape}


@pytest.mark.quick("ppo", "dqn", "sac")
@each_recipe
def test_what_make_passes_on_is_what_the_algorithm_takes(recipe):
    algorithm = RECIPES[recipe][0]
    own, taken = (inspect.signature(f).parameters for f in (recipe.make, algorithm))
    passed_on = set(fx.arguments.keyword_names(recipe.make)) - set(own)
    for name in passed_on:
        assert taken[name].default is not taken[name].empty
        hint = inspect.get_annotations(inspect.getmodule(algorithm).Settings).get(name)
        assert hint is None or hint == taken[name].annotation
    left_out = set(taken) - set(own) - passed_on
    left_out -= {"target_noise", "target_noise_clip", "delay"} if recipe is ddpg else set()
    assert left_out <= {"num_updates"}


def test_ppo_has_the_names_of_its_configuration():
    names = set(fx.arguments.keyword_names(ppo.make))
    assert names == PPO | {"env", "key", "agent"}
    assert set(fx.arguments.keyword_names(nde_ppo.make)) - names == {
        "cell",
        "mask_velocities",
        "max_interval",
        "width",
    }


@pytest.mark.quick("ppo", "c51", "td3")
@each_recipe
def test_another_learning_rate_is_the_same_program(recipe):
    _, env, sizes = RECIPES[recipe]
    rate = "critic_rate" if recipe in (td3, ddpg, sac) else "learning_rate"

    def structures(key):
        agent, _ = recipe.make(env, key=key, **sizes)
        for value in (1e-3, 3e-4):
            _, train = recipe.make(env, key=key, agent=agent, **{rate: value}, **sizes)
            found.append(fx.partition(train.algorithm)[1])

    found = []
    jax.eval_shape(structures, KEY)  # in which an agent costs nothing
    assert found[0] == found[1]


def test_an_agent_of_ones_own_is_taken_if_it_fits():
    own = fx.agents.mlp_actor_critic("CartPole-v1", key=KEY, width=8)
    agent, train = ppo.make("CartPole-v1", key=KEY, agent=own, **EPOCHS)
    assert agent is own
    trained, _ = jax.eval_shape(train, agent, KEY)
    assert jax.tree.structure(trained) == jax.tree.structure(own)
    for recipe, env, match in [
        (ppo, "Acrobot-v1", r"rollout: agent: step: observation"),
        (dqn, "CartPole-v1", r"epsilon_greedy.*Q|wanted.*q_values"),
        (sac, "Pendulum-v1", r"rollout: agent: step: observation"),
    ]:
        sizes = RECIPES[recipe][2]
        agent, train = recipe.make(env, key=KEY, agent=own, **sizes)
        with pytest.raises(fx.WiringError, match=match):
            train(agent, KEY)


def test_qr_dqn_is_c51_with_another_loss():
    sizes = {"num_envs": 2, "num_steps": 1, "warmup": 128, "learning_rate": 1e-3}
    one = c51.c51("CartPole-v1", **sizes)
    other = qr_dqn.qr_dqn("CartPole-v1", huber=2.0, **sizes)
    assert other["replay/minimize"].loss.formula == fx.quantile_regression_loss(huber=2.0).formula
    assert fx.partition(other["rollout"]) == fx.partition(one["rollout"])


def test_the_table_of_dqn_tells_how_it_explores_and_what_its_targets_follow(capsys):
    agent, train = dqn.make(key=KEY)
    fx.describe(train.algorithm, agent)
    table = " ".join(capsys.readouterr().out.split())
    assert "explore=EpsilonGreedy(epsilon=linear_schedule(1 0.05 250000))" in table
    assert "Periodic(period=50)" in table
    assert "Transitions[128 1]" in table


def test_nde_ppo_shows_its_agent_the_task():
    for max_interval, size in ((1, 2), (3, 3)):
        shown = nde_ppo.task("CartPole-v1", max_interval=max_interval)
        assert shown.observation_space.flat_size == size
        _, train = nde_ppo.make(key=KEY, cell="mlp", max_interval=max_interval, **RNN)
        assert train.algorithm["rollout"].env.env.name == shown.name


REFUSED = {
    "cell": (lambda: nde_ppo.make(key=KEY, cell="gruu"), r"nde_ppo: cell.*Did you mean 'gru'"),
    "no velocities": (
        lambda: nde_ppo.make("Breakout-MinAtar", key=KEY),
        "mask_velocities: env",
    ),
    "interval": (lambda: nde_ppo.make(key=KEY, max_interval=0), "nde_ppo: max_interval"),
    "dqn": (lambda: dqn.make("Pendulum-v1", key=KEY), "q_agent: actions: wanted a Discrete space"),
    "pqn": (lambda: pqn.make("Pendulum-v1", key=KEY), "q_agent: actions: wanted a Discrete space"),
    "c51": (lambda: c51.make("Pendulum-v1", key=KEY), "categorical_q_agent: actions"),
    "td3": (lambda: td3.make("CartPole-v1", key=KEY), "actions: wanted a Box"),
    "ddpg": (lambda: ddpg.make("CartPole-v1", key=KEY), "actions: wanted a Box"),
    "nde_model": (lambda: nde_model.make("CartPole-v1", key=KEY), "actions: wanted a Box"),
    "huber": (lambda: qr_dqn.make(key=KEY, huber=0.0), "quantile_regression_loss: huber"),
    "capacity": (
        lambda: dqn.make(key=KEY, capacity=1000),
        "replay: warmup: wanted at most",
    ),
    "n": (lambda: dqn.make(key=KEY, n=-1), "td_target: n"),
    "misspelt": (
        lambda: ppo.make("CartPole-v1", key=KEY, discout=0.9),
        r"recipes\.ppo\.make: discout.*Did you mean 'discount'",
    ),
    "misspelt in the algorithm": (
        lambda: qr_dqn.qr_dqn("CartPole-v1", batchsize=3),
        r"recipes\.qr_dqn\.qr_dqn: batchsize.*Did you mean 'batch_size'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_compiled(name):
    call, match = REFUSED[name]
    with pytest.raises(fx.LeraxError, match=match):
        call()


def test_the_runs_of_a_recipe_are_cut_into_equal_pieces():
    for num_updates in (1, 7, 61, 976, 977, 1000):
        size = shell.piece(num_updates)
        assert num_updates % size == 0
        assert num_updates // size >= min(num_updates, 50)


@each_recipe
def test_flags_are_the_keywords_of_make_with_their_defaults(recipe):
    options = shell.options_of(recipe.make, RECIPES[recipe][0])()
    names = set(fx.arguments.keyword_names(recipe.make)) - {"key", "agent"}
    assert set(vars(options)) == names | {"seed", "threads", "json"}
    if recipe in (nde_ppo, qr_dqn):
        assert (options.learning_rate, options.discount) == (
            (5e-4, 0.99) if recipe is nde_ppo else (1.25e-4, 0.99)
        )


@pytest.fixture
def in_shell(monkeypatch, capsys):
    """Run a recipe with flags in this process; what it prints."""

    def run(recipe, *flags, **options):
        sizes = ["--total-steps", "64", "--num-envs", "2", "--num-steps", "32"]
        monkeypatch.setattr(sys, "argv", ["recipe", *sizes, *flags])
        shell.main(recipe.make, RECIPES[recipe][0], **options)
        return capsys.readouterr().out

    monkeypatch.setenv("NPROC", os.environ.get("NPROC", "1"))
    return run


@pytest.mark.slow
def test_the_summary_is_json_and_agrees_with_the_whole_run(in_shell):
    flags = ["--num-epochs", "1", "--num-minibatches", "2"]
    rates = ["--learning-rate", "1e-3", "--lambda", "0.9"]
    summary = json.loads(in_shell(ppo, "--json", "--seed", "3", *flags, *rates))
    wanted = {"eval_return_mean", "eval_return_std", "compile_seconds", "wall_seconds"}
    assert wanted <= set(summary)
    assert summary["env"] == "CartPole-v1"
    assert (summary["seed"], summary["steps"]) == (3, 64)
    assert summary["steps_per_second"] > 0

    agent_key, train_key, evaluate_key = jax.random.split(jax.random.key(3), 3)
    sizes = {"total_steps": 64, "num_envs": 2, "num_steps": 32}
    settings = {"num_epochs": 1, "num_minibatches": 2, "learning_rate": 1e-3, "lambda_": 0.9}
    agent, train = ppo.make("CartPole-v1", key=agent_key, **sizes, **settings)
    trained, _ = train(agent, train_key)
    before, after = (jax.tree.leaves(tree) for tree in (agent, trained))
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    evaluation = fx.evaluate("CartPole-v1", trained, evaluate_key)
    assert summary["eval_return_mean"] == pytest.approx(float(evaluation.episode_return.mean()))


@pytest.mark.slow
def test_an_agent_is_evaluated_in_what_it_was_shown_and_by_unscaled_rewards(in_shell):
    flags = "--env", "Pendulum-v1", "--cell", "mlp", "--max-interval", "3", "--width", "8"
    flags = *flags, "--num-epochs", "1", "--num-minibatches", "2"
    summary = json.loads(in_shell(nde_ppo, "--json", *flags, task=nde_ppo.task))
    assert summary["env"] == "IrregularTime(SelectObservation(Pendulum-v1))"
    assert summary["eval_return_mean"] < -500  # normalised, they would be at -20 or so


@pytest.mark.slow
def test_people_get_a_bar_and_a_summary(monkeypatch, capfd):
    flags = ["--total-steps", "64", "--num-envs", "2", "--num-steps", "32", "--no-anneal"]
    monkeypatch.setattr(sys, "argv", ["a2c", "--env", "Acrobot-v1", *flags])
    monkeypatch.setenv("NPROC", os.environ.get("NPROC", "1"))
    monkeypatch.delitem(sys.modules, "recipes.a2c")
    runpy.run_module("recipes.a2c", run_name="__main__", alter_sys=True)
    out, err = capfd.readouterr()
    assert "Acrobot-v1, seed 0: return -500.0" in out
    assert "64 steps at" in out
    assert "Warning" not in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--threads", "0"], "threads: wanted an int of at least 1"),
        (["--env", "CartPole-v2"], "CartPole-v1"),
    ],
)
def test_a_wrong_flag_ends_in_words(in_shell, flags, message):
    with pytest.raises(SystemExit, match=message):
        in_shell(ppo, *flags)


def test_threads_are_set_where_nobody_else_did(in_shell, monkeypatch):
    monkeypatch.setattr(shell, "run", lambda *_, **__: {})

    def set_by(*flags, threads, nproc=None):
        if nproc is None:
            monkeypatch.delenv("NPROC", raising=False)
        else:
            monkeypatch.setenv("NPROC", nproc)
        in_shell(ppo, "--json", *flags, threads=threads)
        return os.environ.get("NPROC")

    assert set_by(threads=1) == "1"
    assert set_by(threads=None) is None
    assert set_by("--threads", "9", threads=1) == "9"
    assert set_by("--threads", "1", threads=9) == "1"
    assert set_by(threads=1, nproc="9") == "9"


THREADS_OF_A_RUN = """
import sys
import jax.numpy as jnp
from recipes import ppo, shell

def run(*_, **__):
    jnp.ones(3).block_until_ready()
    return {}

shell.run = run
shell.main(ppo.make, ppo.ppo, threads=1)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("Threads")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="threads are counted by Linux")
def test_xla_starts_as_many_threads_as_said():
    own = {name: value for name, value in os.environ.items() if name != "NPROC"}

    def threads(*flags):
        result = subprocess.run(
            [sys.executable, "-c", THREADS_OF_A_RUN, *flags],
            capture_output=True,
            text=True,
            check=True,
            env={**own, "LERAX_FX_TYPECHECK": "off"},
        )
        return int(result.stdout.split()[-1])

    # XLA has several pools of as many, and others that come and go.
    assert threads() + 8 <= threads("--threads", "9")
