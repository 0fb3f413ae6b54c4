"""Breakout-MinAtar in 1,000,000 steps: DQN here against PureJaxRL's, PQN against Rejax's.

    git clone https://github.com/luchris429/purejaxrl
    git clone https://github.com/keraJLi/rejax
    pip install flax flashbax
    python tests/benchmarks/breakout.py --purejaxrl purejaxrl --rejax rejax

The settings are theirs, on both sides, and those of CartPole: neither project has any for MinAtar.
All see the grid as one vector. Returns are of 128 episodes after the run: DQN's by the policy that
it ends with, at random one time in twenty, evaluated here for both; PQN's greedy here, and as Rejax
evaluates itself there, at random one time in two hundred.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import distrax
import jax
import numpy as np
from comparison import load_purejaxrl, prepare, timed
from dqn_against_purejaxrl import AS_PUREJAXRL
from dqn_against_purejaxrl import SETTINGS as DQN_SETTINGS
from rejax_programs import (
    EVALUATION_EPISODES,
    our_program,
    our_return,
    rejax_program,
    rejax_return,
)

import lerax_fx as fx
from recipes import dqn, pqn

ENV = "Breakout-MinAtar"
# `pqn` of Rejax's `configs/gymnax/cartpole.yaml`, less how long it trains and evaluates; those
# that are not the defaults of `recipes.pqn` are passed on to it below.
PQN_SETTINGS = {
    "agent_kwargs": {"activation": "relu"},
    "num_envs": 16,
    "num_steps": 128,
    "num_epochs": 5,
    "num_minibatches": 16,
    "learning_rate": 0.0003,
    "max_grad_norm": 10,
    "td_lambda": 0.9,
    "eps_start": 1,
    "eps_end": 0.05,
    "exploration_fraction": 0.5,
    "gamma": 0.99,
    "normalize_observations": False,
    "normalize_rewards": False,
}


class ByValues(fx.agents.AbstractFeedforward):
    """An agent that acts by Q-values as DQN does at the end of its training."""

    values: Callable[[Any], Any]

    def output(self, observation: Any, key: Any) -> fx.agents.Output:
        del key
        values = self.values(observation)
        epsilon = DQN_SETTINGS["EPSILON_FINISH"]
        return fx.agents.Output(distrax.EpsilonGreedy(values, epsilon), values.max())


def return_by(env: fx.Env, values: Callable[[Any], Any], key: Any) -> Any:
    agent = ByValues(values)
    found = fx.evaluate(env, agent, key, num_episodes=EVALUATION_EPISODES, greedy=False)
    return found.episode_return.mean()


def programs(purejaxrl: Path, rejax: Path, steps: int) -> dict[str, tuple[Any, Any]]:
    """Each by name, with what reads the return off its output."""
    env = fx.envs.FlattenObservation(ENV)

    def our_dqn(key: Any) -> Any:
        agent_key, train_key = jax.random.split(key)
        agent, train = dqn.make(env, key=agent_key, total_steps=steps, **AS_PUREJAXRL)
        agent, _ = train(agent, train_key)

        def values(observation: Any) -> Any:
            return agent.step(None, observation, key)[1].q_values

        return return_by(env, values, key)

    def make_pqn(key: fx.typing.Key, total_steps: int) -> tuple[Any, fx.loops.AnakinLoop]:
        half = total_steps // 2
        return pqn.make(env, key=key, total_steps=total_steps, anneal=False, epsilon_steps=half)

    settings = {**DQN_SETTINGS, "ENV_NAME": ENV, "TOTAL_TIMESTEPS": steps}
    train_theirs = load_purejaxrl(purejaxrl, "dqn")(settings)
    network = sys.modules["dqn"].QNetwork(env.action_space.n)

    def their_dqn(key: Any) -> Any:
        trained = train_theirs(key)["runner_state"][0].params
        return return_by(env, lambda observation: network.apply(trained, observation), key)

    return {
        "DQN lerax_fx": (our_dqn, float),
        "DQN PureJaxRL": (their_dqn, float),
        "PQN lerax_fx": (our_program(env, make_pqn, steps), our_return),
        "PQN Rejax": (rejax_program(rejax, "pqn", ENV, PQN_SETTINGS, steps), rejax_return),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Breakout-MinAtar: DQN and PQN.")
    parser.add_argument("--purejaxrl", type=Path, required=True, help="a checkout of PureJaxRL")
    parser.add_argument("--rejax", type=Path, required=True, help="a checkout of Rejax")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--total-steps", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="such as PQN, or DQN")
    chosen = parser.parse_args()
    prepare()
    rows = programs(chosen.purejaxrl, chosen.rejax, chosen.total_steps)
    for name, (program, read) in rows.items():
        if chosen.only and not set(name.split()) & set(chosen.only):
            continue
        run = jax.jit(program)
        outputs = [timed(run, jax.random.PRNGKey(seed)) for seed in range(chosen.seeds)]
        returns = np.asarray([read(output) for _, output in outputs])
        seconds = outputs[-1][0]
        print(
            f"{name:<14} {returns.mean():6.2f} +- {returns.std():5.2f}, seeds {returns.round(1)}, "
            f"{seconds:.0f} s a run",
            flush=True,
        )


if __name__ == "__main__":
    main()
