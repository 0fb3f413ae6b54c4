"""PPO here against PureJaxRL's, on CartPole-v1 with PureJaxRL's settings.

    git clone https://github.com/luchris429/purejaxrl
    python tests/benchmarks/ppo_against_purejaxrl.py --purejaxrl purejaxrl

How they are compared is said in `comparison.py`.
"""

from typing import Any

import jax
import numpy as np
from comparison import Program, compare, load_purejaxrl, options, prepare, report

from recipes import ppo

NUM_STEPS = 128
# Those of `purejaxrl/ppo.py`, less its printing; also the defaults of `recipes.ppo`.
SETTINGS = {
    "LR": 2.5e-4,
    "NUM_STEPS": NUM_STEPS,
    "UPDATE_EPOCHS": 4,
    "NUM_MINIBATCHES": 4,
    "GAMMA": 0.99,
    "GAE_LAMBDA": 0.95,
    "CLIP_EPS": 0.2,
    "ENT_COEF": 0.01,
    "VF_COEF": 0.5,
    "MAX_GRAD_NORM": 0.5,
    "ACTIVATION": "tanh",
    "ENV_NAME": "CartPole-v1",
    "ANNEAL_LR": True,
    "DEBUG": False,
}


def our_program(num_envs: int, total_steps: int) -> Program:
    def program(key: Any) -> Any:
        agent_key, train_key = jax.random.split(key)
        agent, train = ppo.make(
            "CartPole-v1", key=agent_key, num_envs=num_envs, total_steps=total_steps
        )
        return train(agent, train_key)

    return program


def purejaxrl_return(output: Any) -> float:
    """The mean return of the episodes that ended in the last tenth of the updates."""
    info = output["metrics"]
    returns, ended = (
        np.asarray(info[name]) for name in ("returned_episode_returns", "returned_episode")
    )
    last = slice(-max(1, returns.shape[-3] // 10), None)
    return float(returns[..., last, :, :][ended[..., last, :, :] > 0].mean())


def our_return(output: Any) -> float:
    returns = np.asarray(output[1]["episode_return"])
    return float(np.nanmean(returns[..., -max(1, returns.shape[-1] // 10) :]))


def main() -> None:
    parser = options("PPO here against PureJaxRL's.")
    parser.add_argument("--envs", type=int, nargs="+", default=[4, 64])
    chosen = parser.parse_args()
    prepare()
    make_train = load_purejaxrl(chosen.purejaxrl, "ppo")
    rows: dict[str, dict[str, Any]] = {}
    for num_envs in chosen.envs:
        settings = {**SETTINGS, "NUM_ENVS": num_envs, "TOTAL_TIMESTEPS": chosen.total_steps}
        programs = {
            "lerax_fx": our_program(num_envs, chosen.total_steps),
            "PureJaxRL": make_train(settings),
        }
        batch = num_envs * NUM_STEPS
        rows[f"{num_envs} environments"] = compare(
            programs,
            {"lerax_fx": our_return, "PureJaxRL": purejaxrl_return},
            steps=chosen.total_steps // batch * batch,
            repeats=chosen.repeats,
            num_seeds=chosen.seeds,
        )
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
