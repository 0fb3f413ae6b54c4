"""DQN here against PureJaxRL's, on CartPole-v1 with PureJaxRL's settings.

    git clone https://github.com/luchris429/purejaxrl
    pip install flax flashbax
    python tests/benchmarks/dqn_against_purejaxrl.py --purejaxrl purejaxrl

How they are compared is said in `comparison.py`. With NPROC=1 in the environment XLA's CPU
backend keeps to one thread, which is faster for operations as small as these.
"""

from typing import Any

import jax
import numpy as np
from comparison import Program, compare, load_purejaxrl, options, prepare, report

from recipes import dqn

NUM_ENVS = 10
# Those of `purejaxrl/dqn.py`; also the defaults of `recipes.dqn`.
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


def our_program(total_steps: int) -> Program:
    def program(key: Any) -> Any:
        agent_key, train_key = jax.random.split(key)
        agent, train = dqn.make("CartPole-v1", key=agent_key, total_steps=total_steps)
        return train(agent, train_key)

    return program


def last_tenth(values: Any) -> float:
    values = np.asarray(values)
    return float(np.nanmean(values[..., -max(1, values.shape[-1] // 10) :]))


def main() -> None:
    chosen = options("DQN here against PureJaxRL's.").parse_args()
    prepare()
    make_train = load_purejaxrl(chosen.purejaxrl, "dqn")
    settings = {**SETTINGS, "TOTAL_TIMESTEPS": chosen.total_steps}
    row = compare(
        {"lerax_fx": our_program(chosen.total_steps), "PureJaxRL": make_train(settings)},
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
