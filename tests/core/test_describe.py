"""The table that tells a reader what an algorithm is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx
from lerax_fx._core.describe import rows_of
from recipes import dqn, ppo

KEY = jax.random.key(0)


@functools.cache
def described():
    agent, train = ppo.make(key=KEY)
    rows = rows_of(train.algorithm, agent)
    return train.algorithm, agent, {row.stage.strip(): row for row in rows}


def test_every_stage_has_a_row_and_those_within_are_indented():
    algorithm, agent, _ = described()
    names = [row.stage for row in rows_of(algorithm, agent)]
    assert names == ["rollout", "gae", "minibatch", "  normalize_advantage", "  minimize"]


def test_types_and_shapes_go_from_stage_to_stage():
    _, _, rows = described()
    flow = [(row.takes, row.gives) for row in rows.values()]
    assert flow[0] == ("nothing", "Rollout[4 128]")
    assert flow[1] == ("Rollout[4 128]", "Estimates[4 128]")
    assert flow[2] == ("Estimates[4 128]", "Estimates[4 128]")
    assert flow[3] == flow[4] == ("Estimates[128 1]", "Estimates[128 1]")


def test_hyperparameters_are_there_with_their_values():
    _, _, rows = described()
    assert rows["gae"].hyperparameters == "discount=0.99, lambda_=0.95"
    assert (
        rows["minibatch"].hyperparameters
        == "num_epochs=4, num_minibatches=4, whole_trajectories=False"
    )
    assert "env=CartPole-v1, num_envs=4, num_steps=128" in rows["rollout"].hyperparameters
    assert "clipped_surrogate(clip=0.2) + 0.5 value_loss" in rows["minimize"].hyperparameters
    for setting in ("clip_by_global_norm(0.5)", "eps=1e-05", "value=0.00025"):
        assert setting in rows["minimize"].hyperparameters


def test_hyperparameters_that_are_arrays_are_there_within_other_stages():
    agent, train = ppo.make(key=KEY, learning_rate=jnp.asarray(0.5), clip=jnp.asarray(0.25))
    rows = {row.stage.strip(): row for row in rows_of(train.algorithm, agent)}
    assert "value=0.5" in rows["minimize"].hyperparameters
    assert "clip=0.25" in rows["minimize"].hyperparameters


def test_schedules_and_target_updates_are_there_with_their_names():
    agent, train = dqn.make(key=KEY, epsilon_start=0.75, target_period=7)
    rows = {row.stage.strip(): row for row in rows_of(train.algorithm, agent)}
    assert (
        "EpsilonGreedy(epsilon=linear_schedule(0.75 0.05 250000))"
        in rows["rollout"].hyperparameters
    )
    assert "Periodic(period=7)" in rows["td_target"].hyperparameters


def test_a_state_has_the_size_of_its_arrays():
    algorithm, agent, rows = described()
    state = algorithm.init(agent, lambda: None, KEY)
    for name in algorithm.names:
        size = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(state[name]))
        assert rows[name].state == size
    assert rows["minimize"].state == rows["minibatch"].state
    assert rows["gae"].state == 0


def test_it_is_printed_in_columns(capsys):
    algorithm, agent, rows = described()
    fx.describe(algorithm, agent)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "takes", "gives", "state", "hyperparameters"]
    column = lines[0].index("gives")
    for row in rows.values():
        line = next(line for line in lines if line.strip().startswith(row.stage.strip()))
        assert line[column:].startswith(row.gives)


def test_it_finds_a_wrong_wiring():
    agent = fx.actor_critic("CartPole-v1", key=KEY)
    learn = fx.minimize(fx.ppo_loss(), optax.sgd(1e-2))
    with pytest.raises(fx.WiringError, match="describe: stage 1, 'gae': wanted Rollout"):
        fx.describe(fx.chain(fx.gae(), learn), agent)
