"""PPO here against PureJaxRL's, on CartPole-v1 with PureJaxRL's settings.

    git clone https://github.com/luchris429/purejaxrl
    python tests/benchmarks/ppo_against_purejaxrl.py --purejaxrl purejaxrl

Both train from a random key to a trained agent, in one program, the networks' initial
weights included. They run one after the other in the same process, and take turns at going
first, so that what else the machine does meets both. Compiling is timed by itself, tracing
included, with JAX's caches cleared; throughput without it.
"""

import argparse
import contextlib
import importlib
import json
import os
import platform
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np

from recipes import ppo

TOTAL_STEPS = 500_000
NUM_STEPS = 128
# Those of `purejaxrl/ppo.py`, less its printing; also the defaults of `recipes.ppo`.
PUREJAXRL_SETTINGS = {
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

Program = Callable[[Any], Any]


class FiveValues:
    """An environment of gymnax whose step returns five values, as PureJaxRL expects.

    What gymnax 1.0 has added is left away, so that PureJaxRL does not carry it around.
    """

    def __init__(self, environment: Any):
        self._environment = environment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def step(self, key: Any, state: Any, action: Any, params: Any) -> Any:
        observation, state, reward, terminated, truncated, info = self._environment.step(
            key, state, action, params
        )
        kept = {"discount": info["discount"]}
        return observation, state, reward, jnp.logical_or(terminated, truncated), kept


@contextlib.contextmanager
def as_purejaxrl_expects(folder: Path) -> Iterator[None]:
    """Imports as PureJaxRL makes them: its own folder on the path, and stand-ins for the
    suites that its wrappers import and PPO on CartPole does not use.
    """
    stand_ins = ("brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training", "navix")
    added: list[str] = []
    for name in stand_ins:
        try:
            importlib.import_module(name)
        except ImportError:
            module = types.ModuleType(name)
            module.EpisodeWrapper = module.AutoResetWrapper = None  # type: ignore[attr-defined]
            sys.modules[name] = module
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
            added.append(name)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in added:
            del sys.modules[name]


def load_purejaxrl(checkout: Path) -> Callable[[dict[str, Any]], Program]:
    """PureJaxRL's `make_train`, on gymnax's environments as they are today."""
    folder = checkout / "purejaxrl"
    if not (folder / "ppo.py").exists():
        raise SystemExit(f"{folder / 'ppo.py'} does not exist: clone PureJaxRL first")
    with as_purejaxrl_expects(folder):
        module = importlib.import_module("ppo")

    def make(name: str) -> tuple[Any, Any]:
        environment, params = gymnax.make(name)
        return FiveValues(environment), params

    module.gymnax = types.SimpleNamespace(make=make)
    return module.make_train


def purejaxrl_program(make_train: Any, num_envs: int, total_steps: int) -> Program:
    settings = {**PUREJAXRL_SETTINGS, "NUM_ENVS": num_envs, "TOTAL_TIMESTEPS": total_steps}
    return make_train(settings)


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


def compiled(program: Program, key: Any) -> tuple[float, Program]:
    """The program, compiled with nothing cached, and the seconds that took."""
    jax.clear_caches()
    began = time.perf_counter()
    result = jax.jit(program).lower(key).compile()
    return time.perf_counter() - began, result


def timed(program: Program, key: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    output = jax.block_until_ready(program(key))
    return time.perf_counter() - began, output


def compare(
    make_train: Any, num_envs: int, repeats: int, total_steps: int, num_seeds: int
) -> dict[str, Any]:
    """Both with `num_envs` environments, `repeats` times, in turns."""
    programs = {
        "lerax_fx": our_program(num_envs, total_steps),
        "purejaxrl": purejaxrl_program(make_train, num_envs, total_steps),
    }
    returns = {"lerax_fx": our_return, "purejaxrl": purejaxrl_return}
    if num_seeds > 1:
        programs = {name: jax.vmap(program) for name, program in programs.items()}

    def key_of(repeat: int) -> Any:
        # PureJaxRL's example begins with PRNGKey as well.
        key = jax.random.PRNGKey(repeat)
        return key if num_seeds == 1 else jax.random.split(key, num_seeds)

    steps = num_seeds * (total_steps // (num_envs * NUM_STEPS)) * num_envs * NUM_STEPS
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    compile_seconds: dict[str, list[float]] = {name: [] for name in programs}
    learnt: dict[str, list[float]] = {name: [] for name in programs}
    ready: dict[str, Program] = {}
    # One more than is counted: in the first, modules are still being loaded.
    for repeat in range(repeats + 1):
        for name in in_turn(programs, repeat):
            took, ready[name] = compiled(programs[name], key_of(0))
            compile_seconds[name] += [took] if repeat else []
    for name in programs:
        timed(ready[name], key_of(0))
    for repeat in range(repeats):
        for name in in_turn(programs, repeat):
            took, output = timed(ready[name], key_of(repeat))
            seconds[name].append(took)
            learnt[name].append(returns[name](output))
    speed = {name: [steps / took for took in times] for name, times in seconds.items()}
    return {
        "num_envs": num_envs,
        "num_seeds": num_seeds,
        "steps": steps,
        "steps_per_second": {name: statistics.median(v) for name, v in speed.items()},
        "speed_ratio": ratios(speed["lerax_fx"], speed["purejaxrl"]),
        "compile_seconds": {name: statistics.median(v) for name, v in compile_seconds.items()},
        "compile_ratio": ratios(compile_seconds["lerax_fx"], compile_seconds["purejaxrl"]),
        "final_return": {name: statistics.mean(v) for name, v in learnt.items()},
    }


def in_turn(programs: dict[str, Program], repeat: int) -> list[str]:
    names = list(programs)
    return names if repeat % 2 else names[::-1]


def ratios(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Of each repetition by itself: what else the machine did then met both."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


def show(row: dict[str, Any]) -> None:
    def line(title: str, values: dict[str, float], ratio: dict[str, float] | None, form: str):
        spread = ""
        if ratio is not None:
            spread = f"  {ratio['median']:5.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]"
        ours, theirs = (format(values[name], form) for name in ("lerax_fx", "purejaxrl"))
        print(f"  {title:<17}{ours:>12}{theirs:>12}{spread}")

    seeds = f", {row['num_seeds']} seeds" if row["num_seeds"] > 1 else ""
    print(f"{row['num_envs']} environments{seeds}")
    print(f"  {'':<17}{'lerax_fx':>12}{'PureJaxRL':>12}  ratio [min, max]")
    line("steps per second", row["steps_per_second"], row["speed_ratio"], ",.0f")
    line("compile seconds", row["compile_seconds"], row["compile_ratio"], ".2f")
    line("last returns", row["final_return"], None, ".1f")


def machine() -> dict[str, Any]:
    packages = ("jax", "jaxlib", "gymnax", "optax", "distrax", "equinox", "flax")
    return {
        "cores": os.cpu_count(),
        "device": str(jax.devices()[0].device_kind),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--purejaxrl", type=Path, required=True, help="a checkout of PureJaxRL")
    parser.add_argument("--envs", type=int, nargs="+", default=[4, 64])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1, help="trained at once, under vmap")
    parser.add_argument("--total-steps", type=int, default=TOTAL_STEPS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # A compilation that is read from disk is none.
    jax.config.update("jax_enable_compilation_cache", False)
    make_train = load_purejaxrl(options.purejaxrl)
    rows: list[dict[str, Any]] = []
    for num_envs in options.envs:
        row = compare(make_train, num_envs, options.repeats, options.total_steps, options.seeds)
        rows.append(row)
        if not options.json:
            show(row)
    if options.json:
        print(json.dumps({"machine": machine(), "results": rows}))


if __name__ == "__main__":
    main()
