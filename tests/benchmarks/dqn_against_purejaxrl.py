"""DQN here against PureJaxRL's, on CartPole-v1 with PureJaxRL's settings.

    git clone https://github.com/luchris429/purejaxrl
    pip install flax flashbax
    python tests/benchmarks/dqn_against_purejaxrl.py --purejaxrl purejaxrl

How they are compared is said in `comparison.py`. With NPROC=1 in the environment XLA's CPU
backend keeps to one thread, which is faster for operations as small as these. With `--in-shell`
each is run as from the shell, in a process of its own and in turns: ours by `python -m
recipes.dqn`, which takes one thread unless it is told otherwise.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from comparison import (
    Program,
    compare,
    compiled,
    in_turn,
    load_purejaxrl,
    options,
    prepare,
    ratios,
    report,
    timed,
)

from recipes import dqn

NUM_ENVS = 10
# Those of `purejaxrl/dqn.py`; also the defaults of `recipes.dqn`, but for `AS_PUREJAXRL`.
SETTINGS = {
    "NUM_ENVS": NUM_ENVS,
    "BUFFER_SIZE": 10_000,
    "BUFFER_BATCH_SIZE": 128,
    "EPSILON_START": 1.0,
    "EPSILON_FINISH": 0.05,
    "EPSILON_ANNEAL_TIME": 250_000,
    "TARGET_UPDATE_INTERVAL": 500,
    "LR": 2.5e-4,
    "LEARNING_STARTS": 10_000,
    "TRAINING_INTERVAL": 10,
    "LR_LINEAR_DECAY": False,
    "GAMMA": 0.99,
    "TAU": 1.0,
    "ENV_NAME": "CartPole-v1",
    "WANDB_MODE": "disabled",
}
# The same where the defaults of `recipes.dqn` are others, and as flags of its command.
AS_PUREJAXRL: dict[str, Any] = {
    "learning_rate": 2.5e-4,
    "anneal": False,
    "double": False,
    "layer_norm": False,
}
FLAGS = ["--learning-rate", "2.5e-4", "--no-anneal", "--no-double", "--no-layer-norm"]


def our_program(total_steps: int) -> Program:
    def program(key: Any) -> Any:
        agent_key, train_key = jax.random.split(key)
        agent, train = dqn.make(
            "CartPole-v1", key=agent_key, total_steps=total_steps, **AS_PUREJAXRL
        )
        return train(agent, train_key)

    return program


def last_tenth(values: Any) -> float:
    values = np.asarray(values)
    return float(np.nanmean(values[..., -max(1, values.shape[-1] // 10) :]))


def their_program(checkout: Path, total_steps: int) -> Program:
    return load_purejaxrl(checkout, "dqn")({**SETTINGS, "TOTAL_TIMESTEPS": total_steps})


def their_speed(checkout: Path, total_steps: int) -> float:
    """In this process, which runs nothing else."""
    key = jax.random.PRNGKey(0)
    _, program = compiled(their_program(checkout, total_steps), key)
    return total_steps / timed(program, key)[0]


def in_shell(chosen: Any) -> None:
    """Steps per second of whole commands, without what they take to compile."""
    steps = ["--total-steps", str(chosen.total_steps)]
    theirs = [__file__, "--alone", "--purejaxrl", str(chosen.purejaxrl), *steps]
    commands = {"lerax_fx": ["-m", "recipes.dqn", "--json", *FLAGS, *steps], "PureJaxRL": theirs}
    speeds: dict[str, list[float]] = {name: [] for name in commands}
    for repeat in range(chosen.repeats):
        for name in in_turn(commands, repeat):
            command = [sys.executable, *commands[name]]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            speeds[name].append(json.loads(run.stdout.splitlines()[-1])["steps_per_second"])
    each = ratios(*speeds.values())
    shown = ", ".join(f"{name} {statistics.median(v):,.0f}" for name, v in speeds.items())
    print(f"steps per second: {shown}; ratio {each}")


def main() -> None:
    parser = options("DQN here against PureJaxRL's.")
    parser.add_argument("--in-shell", action="store_true", help="each in a process of its own")
    parser.add_argument("--alone", action="store_true", help="PureJaxRL's, as one such process")
    chosen = parser.parse_args()
    if chosen.in_shell:
        return in_shell(chosen)
    prepare()
    if chosen.alone:
        speed = their_speed(chosen.purejaxrl, chosen.total_steps)
        return print(json.dumps({"steps_per_second": speed}))
    row = compare(
        {
            "lerax_fx": our_program(chosen.total_steps),
            "PureJaxRL": their_program(chosen.purejaxrl, chosen.total_steps),
        },
        {
            "lerax_fx": lambda output: last_tenth(output[1]["episode_return"]),
            "PureJaxRL": lambda output: last_tenth(output["metrics"]["returns"]),
        },
        steps=chosen.total_steps // NUM_ENVS * NUM_ENVS,
        repeats=chosen.repeats,
        num_seeds=chosen.seeds,
    )
    report({f"{NUM_ENVS} environments": row}, chosen.json)


if __name__ == "__main__":
    main()
