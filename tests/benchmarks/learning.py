"""What the recipes learn with their defaults, over many seeds: the main table of
docs/learning.md, and the rows of hidden velocities.

    python tests/benchmarks/learning.py --rows dqn cde --seeds 16 --key 2026

Prints a row in Markdown for each: the return of the greedy policy, the mean over 128 episodes of
each seed; of the seeds their mean, interquartile mean with a 95% bootstrap interval, standard
deviation and worst. The seeds are `jax.random.split(jax.random.key(KEY), SEEDS)`: settings are to
be chosen on other keys than those that are reported.
"""

import argparse
import dataclasses
import json
import os
import time
from types import ModuleType
from typing import Any

# Read when JAX starts: updates of these sizes are too small to be shared between threads.
os.environ.setdefault("NPROC", "1")

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import trim_mean

import lerax_fx as fx
from recipes import a2c, c51, ddpg, dqn, nde_model, nde_ppo, ppo, pqn, qr_dqn, sac, td3

RESAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class Row:
    """What is trained, and what its seeds are to reach, on average and at the worst."""

    recipe: ModuleType
    env: str
    steps: int
    settings: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    wanted: float | None = None
    wanted_of_worst: float | None = None
    episodes: int = 128


def _cartpole(recipe: ModuleType, steps: int = 500_000, **settings: Any) -> Row:
    return Row(recipe, "CartPole-v1", steps, settings, 490.0, 450.0)


# DQN as PureJaxRL has it: its learning rate is held, and Q-learning is not double.
PLAIN: dict[str, Any] = {
    "learning_rate": 2.5e-4,
    "anneal": False,
    "double": False,
    "layer_norm": False,
}

ROWS = {
    "ppo": _cartpole(ppo),
    "ppo_acrobot": Row(ppo, "Acrobot-v1", 500_000, {}, -90.0),
    "ppo_pendulum": Row(ppo, "Pendulum-v1", 1_000_000, {}, -250.0),
    "a2c": _cartpole(a2c),
    "dqn": _cartpole(dqn),
    "dqn_plain": _cartpole(dqn, **PLAIN),
    "dqn_dueling": _cartpole(dqn, **(PLAIN | {"double": True, "dueling": True, "n": 3})),
    "dqn_prioritized": _cartpole(dqn, **(PLAIN | {"prioritized": True, "learning_rate": 6.25e-5})),
    "pqn": _cartpole(pqn),
    "c51": _cartpole(c51),
    "qr_dqn": _cartpole(qr_dqn),
    "td3": Row(td3, "Pendulum-v1", 20_000, {}, -200.0),
    "ddpg": Row(ddpg, "Pendulum-v1", 20_000, {}, -250.0),
    "sac": Row(sac, "Pendulum-v1", 20_000, {}, -200.0),
    "nde_model": Row(nde_model, "Pendulum-v1", 2_000, {}, -250.0, -250.0, episodes=16),
    "sac_cartpole": _cartpole(sac, 50_000),
    **{cell: _cartpole(nde_ppo, cell=cell) for cell in ("ode", "cde", "linear_cde", "gru")},
    "mlp": Row(nde_ppo, "CartPole-v1", 500_000, {"cell": "mlp"}),
}


def returns_of(row: Row, keys: Any) -> np.ndarray:
    """The mean return of each seed, over episodes of the greedy policy."""
    env: Any = row.env
    settings = dict(row.settings, total_steps=row.steps)
    if row.recipe is nde_ppo:
        env, settings["hide_velocities"] = nde_ppo.task(env), False

    def one_seed(key: Any) -> Any:
        agent_key, train_key, evaluate_key = jax.random.split(key, 3)
        agent, train = row.recipe.make(env, key=agent_key, **settings)
        trained, _ = train(agent, train_key)
        evaluation = fx.evaluate(env, trained, evaluate_key, num_episodes=row.episodes)
        return jnp.mean(evaluation.episode_return)

    return np.asarray(jax.jit(jax.vmap(one_seed))(keys))


def interquartile_mean(returns: np.ndarray) -> tuple[float, float, float]:
    """The mean without the lowest and the highest quarter, and a 95% bootstrap interval over the
    seeds: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
    Precipice".
    """
    resampled = np.random.default_rng(0).choice(returns, (RESAMPLES, len(returns)))
    low, high = np.percentile(trim_mean(resampled, 0.25, axis=1), [2.5, 97.5])
    return float(trim_mean(returns, 0.25)), float(low), float(high)


HEADER = (
    "| recipe | environment | steps | settings | seeds | mean | interquartile mean (95%) | std "
    "| worst | wanted |\n|---|---|---|---|---|---|---|---|---|---|"
)


def markdown(row: Row, returns: np.ndarray) -> str:
    """One line of the table."""
    name = row.recipe.__name__.split(".")[-1]
    settings = ", ".join(f"{key}={value!r}" for key, value in row.settings.items())
    middle, low, high = interquartile_mean(returns)
    wanted = [] if row.wanted is None else [f"mean ≥ {row.wanted:g}"]
    wanted += [] if row.wanted_of_worst is None else [f"worst ≥ {row.wanted_of_worst:g}"]
    cells = (
        name,
        row.env,
        f"{row.steps:,}",
        f"`{settings}`" if settings else "defaults",
        f"{len(returns)}",
        f"{returns.mean():.1f}",
        f"{middle:.1f} [{low:.1f}, {high:.1f}]",
        f"{returns.std():.1f}",
        f"{returns.min():.1f}",
        ", ".join(wanted),
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--key", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="a line for each row, all returns")
    options = parser.parse_args()
    keys = jax.random.split(jax.random.key(options.key), options.seeds)
    if not options.json:
        print(HEADER, flush=True)
    for name in options.rows:
        began = time.perf_counter()
        returns = returns_of(ROWS[name], keys)
        if options.json:
            seconds = time.perf_counter() - began
            result = {"row": name, "key": options.key, "seconds": seconds}
            print(json.dumps(result | {"returns": returns.tolist()}), flush=True)
        else:
            print(markdown(ROWS[name], returns), flush=True)


if __name__ == "__main__":
    main()
