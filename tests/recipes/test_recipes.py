"""Recipes: importable, configurable by the names that they promise, and quick to fail."""

import dataclasses
import inspect
import json
import os
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
CONFIG = {
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
    "value_weight",
    "entropy_weight",
    "max_grad_norm",
    "normalize_reward",
}
SMALL = {"total_steps": 64, "num_envs": 4, "num_steps": 8}


def test_ppo_has_the_names_of_its_configuration():
    assert set(inspect.signature(ppo.make).parameters) - {"env", "key"} == CONFIG


@pytest.mark.parametrize("recipe", [ppo, a2c])
@pytest.mark.parametrize(
    "env", ["CartPole-v1", gymnax.make("Pendulum-v1")[0], fx.make("Breakout-MinAtar")]
)
def test_any_environment_will_do(recipe, env):
    agent, train = recipe.make(env, key=KEY, **SMALL)
    trained, metrics = train(agent, KEY)
    assert {"steps", "episode_return", "episode_length"} <= set(metrics)
    np.testing.assert_array_equal(metrics["steps"], [32, 64])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained))


@pytest.mark.parametrize("recipe", [dqn, c51, qr_dqn])
@pytest.mark.parametrize("env", ["CartPole-v1", fx.make("Breakout-MinAtar")])
def test_dqn_takes_environments_with_discrete_actions(recipe, env):
    small = {"capacity": 64, "batch_size": 8, "warmup": 16, "num_envs": 4, "num_steps": 2}
    agent, train = recipe.make(env, key=KEY, total_steps=64, n=2, **small)
    trained, metrics = train(agent, KEY)
    np.testing.assert_array_equal(metrics["steps"], range(8, 65, 8))
    assert np.isfinite(metrics["minimize/loss"][2:]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained))


def test_the_table_of_dqn_tells_how_it_explores_and_what_its_targets_follow(capsys):
    agent, train = dqn.make(key=KEY)
    fx.describe(train.algorithm, agent)
    table = capsys.readouterr().out
    assert "explore=EpsilonGreedy(end_value=0.05 init_value=1)" in table
    assert "follow=Periodic(period=50)" in table
    assert "Transitions[128 1]" in table


@pytest.mark.parametrize("env", ["CartPole-v1", fx.make("Breakout-MinAtar")])
def test_pqn_takes_environments_with_discrete_actions(env):
    agent, train = pqn.make(env, key=KEY, **SMALL)
    trained, metrics = train(agent, KEY)
    np.testing.assert_array_equal(metrics["steps"], [32, 64])
    assert np.isfinite(metrics["minibatch/loss"]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained))
    with pytest.raises(fx.WiringError, match="q_agent: actions: wanted a Discrete space"):
        pqn.make("Pendulum-v1", key=KEY)


@pytest.mark.parametrize("cell", nde_ppo.CELLS)
@pytest.mark.parametrize("max_interval", [1, 3])
def test_every_cell_learns_from_what_it_is_shown(cell, max_interval):
    options = {"cell": cell, "max_interval": max_interval}
    agent, train = nde_ppo.make(key=KEY, width=8, **options, **SMALL)
    trained, metrics = train(agent, KEY)
    np.testing.assert_array_equal(metrics["steps"], [32, 64])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained))
    shown = nde_ppo.task("CartPole-v1", **options)
    assert shown.observation_space.flat_size == (2 if max_interval == 1 else 3)
    assert train.algorithm["rollout"].env.env.name == shown.name


def test_nde_ppo_has_the_names_of_ppos_configuration_and_four_more():
    names = set(inspect.signature(nde_ppo.make).parameters) - {"env", "key"}
    assert names == CONFIG | {"cell", "mask_velocities", "max_interval", "width"}


def test_nde_ppo_refuses_what_it_does_not_have():
    with pytest.raises(fx.HyperparameterError, match=r"nde_ppo: cell.*Did you mean 'gru'"):
        nde_ppo.make(key=KEY, cell="gruu")
    with pytest.raises(fx.EnvironmentSetupError, match="mask_velocities: env"):
        nde_ppo.make("Breakout-MinAtar", key=KEY)
    with pytest.raises(fx.HyperparameterError, match="nde_ppo: max_interval"):
        nde_ppo.make(key=KEY, max_interval=0)


def test_dqn_refuses_real_actions_and_bad_sizes():
    with pytest.raises(fx.WiringError, match="q_agent: actions: wanted a Discrete space"):
        dqn.make("Pendulum-v1", key=KEY)
    with pytest.raises(fx.WiringError, match="categorical_q_agent: actions"):
        c51.make("Pendulum-v1", key=KEY)
    with pytest.raises(fx.HyperparameterError, match="quantile_regression_loss: huber"):
        qr_dqn.make(key=KEY, huber=0.0)
    with pytest.raises(fx.HyperparameterError, match="replay: warmup: wanted at most"):
        dqn.make(key=KEY, capacity=1000)
    with pytest.raises(fx.HyperparameterError, match="td_target: n"):
        dqn.make(key=KEY, n=-1)


OFF_POLICY = {"capacity": 64, "batch_size": 8, "warmup": 16, "num_envs": 4, "num_steps": 2}


@pytest.mark.parametrize("recipe", [td3, ddpg, sac])
@pytest.mark.parametrize("env", ["Pendulum-v1", fx.make("MountainCarContinuous-v0")])
def test_environments_with_real_actions_are_taken(recipe, env):
    agent, train = recipe.make(env, key=KEY, total_steps=64, n=2, width=8, **OFF_POLICY)
    trained, metrics = train(agent, KEY)
    np.testing.assert_array_equal(metrics["steps"], range(8, 65, 8))
    # The first update that learns is one of the actor too; of the delayed ones after it,
    # those that are left out measure nothing.
    learnt = np.isfinite(metrics["actor/loss"])
    np.testing.assert_array_equal(np.isfinite(metrics["critic/loss"]), [0] + 7 * [1])
    delayed = [0] + 3 * [1, 0] + [1]
    np.testing.assert_array_equal(learnt, delayed if recipe is td3 else [0] + 7 * [1])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained))
    before, after = (jax.tree.leaves(agent), jax.tree.leaves(trained))
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("env", ["CartPole-v1", fx.make("Breakout-MinAtar")])
def test_sac_takes_environments_with_discrete_actions(env):
    agent, train = sac.make(env, key=KEY, total_steps=32, n=2, width=8, **OFF_POLICY)
    trained, metrics = train(agent, KEY)
    assert np.isfinite(metrics["actor/loss"][1:]).all()
    before, after = (jax.tree.leaves(agent), jax.tree.leaves(trained))
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


PLANS = {"horizon": 3, "num_samples": 4, "num_elites": 2, "num_iterations": 2, "window": 2}


@pytest.mark.parametrize("env", ["Pendulum-v1", fx.make("MountainCarContinuous-v0")])
@pytest.mark.parametrize("options", [{}, {"latent": 5, "termination": True}])
def test_a_model_is_learnt_of_environments_with_real_actions(env, options):
    small = {**OFF_POLICY, **PLANS, **options, "updates_per_step": 2}
    agent, train = nde_model.make(env, key=KEY, total_steps=64, width=8, **small)
    trained, metrics = train(agent, KEY)
    np.testing.assert_array_equal(metrics["steps"], range(8, 65, 8))
    assert np.isfinite(metrics["replay/loss"][1:]).all()
    assert not metrics["replay/failed"][1:].any()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained))
    before, after = (jax.tree.leaves(agent), jax.tree.leaves(trained))
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("recipe", [td3, ddpg, nde_model])
def test_discrete_actions_are_refused_before_anything_is_compiled(recipe):
    with pytest.raises(fx.WiringError, match="actions: wanted a Box"):
        recipe.make("CartPole-v1", key=KEY)


def test_a_misspelt_option_is_named():
    with pytest.raises(fx.HyperparameterError, match=r"discout.*Did you mean 'discount'"):
        ppo.make("CartPole-v1", key=KEY, discout=0.9)


def test_the_runs_of_a_recipe_are_cut_into_equal_pieces():
    for num_updates in (1, 7, 61, 976, 977, 1000):
        size = shell.piece(num_updates)
        assert num_updates % size == 0
        assert num_updates // size >= min(num_updates, 50)


def test_options_are_those_of_make_and_three_more():
    fields = {field.name for field in dataclasses.fields(shell.options_of(ppo.make))}
    assert fields == CONFIG | {"env", "seed", "threads", "json"}


def run(*flags, module="recipes.ppo"):
    sizes = ["--total-steps", "256", "--num-envs", "4", "--num-steps", "32"]
    environment = {**os.environ, "LERAX_FX_TYPECHECK": "off"}
    return subprocess.run(
        [sys.executable, "-m", module, *sizes, *flags],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_the_last_line_is_json():
    result = run("--json", "--seed", "3", "--learning-rate", "1e-3", "--lambda", "0.9")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.strip().splitlines()[-1])
    wanted = {"eval_return_mean", "eval_return_std", "compile_seconds", "wall_seconds"}
    assert wanted <= set(summary)
    assert summary["env"] == "CartPole-v1"
    assert (summary["seed"], summary["steps"]) == (3, 256)
    assert summary["steps_per_second"] > 0


def test_people_get_a_bar_and_a_summary():
    result = run("--env", "Acrobot-v1", "--no-anneal", module="recipes.a2c")
    assert result.returncode == 0, result.stderr
    assert "Acrobot-v1, seed 0: return -500.0" in result.stdout
    assert "256 steps at" in result.stdout
    assert "Warning" not in result.stderr


def test_an_agent_is_evaluated_in_what_it_was_shown():
    flags = "--cell", "gru", "--max-interval", "3", "--width", "8"
    result = run("--json", *flags, module="recipes.nde_ppo")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.strip().splitlines()[-1])
    assert summary["env"] == "IrregularTime(SelectObservation(CartPole-v1))"
    assert summary["eval_return_mean"] > 0


THREADS_OF_A_RUN = """
import os
import sys
from recipes import ppo, shell

by_default = int(sys.argv.pop(1))

sys.argv = ["ppo", "--total-steps", "64", "--num-envs", "2", "--num-steps", "32", "--num-epochs",
    "1", "--json", *sys.argv[1:]]
shell.main(ppo.make, threads=by_default)
print(os.environ.get("NPROC"))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("Threads")))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="threads are counted by Linux")
def test_threads_are_as_many_as_said():
    own = {name: value for name, value in os.environ.items() if name != "NPROC"}

    def threads(*arguments, **variables):
        result = subprocess.run(
            [sys.executable, "-c", THREADS_OF_A_RUN, *arguments],
            capture_output=True,
            text=True,
            check=True,
            env={**own, **variables},
        )
        said, counted = result.stdout.split()[-2:]
        return said, int(counted)

    one, nine = threads("1"), threads("1", "--threads", "9")
    assert (one[0], nine[0]) == ("1", "9")
    # XLA has several pools of as many, and others that come and go.
    assert one[1] + 8 <= nine[1]
    assert threads("9", "--threads", "1")[0] == "1"
    assert threads("1", NPROC="9")[0] == "9"


def test_a_wrong_flag_ends_in_words():
    threads = run("--threads", "0")
    assert threads.returncode != 0
    assert "threads: wanted an int of at least 1" in threads.stderr
    result = run("--env", "CartPole-v2")
    assert result.returncode != 0
    assert "CartPole-v1" in result.stderr
    assert "Traceback" not in result.stderr


def test_summary_agrees_with_the_whole_run():
    settings = {"total_steps": 256, "num_envs": 4, "num_steps": 32}
    summary = shell.run(ppo.make, "CartPole-v1", 5, settings, show=False)
    agent_key, train_key, evaluate_key = jax.random.split(jax.random.key(5), 3)
    agent, train = ppo.make("CartPole-v1", key=agent_key, **settings)
    trained, _ = train(agent, train_key)
    evaluation = fx.evaluate("CartPole-v1", trained, evaluate_key)
    assert summary["eval_return_mean"] == pytest.approx(float(evaluation.episode_return.mean()))
