"""What comparisons share: PureJaxRL's programs, and how two programs are timed fairly.

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
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnax
import jax
import jax.numpy as jnp

Program = Callable[[Any], Any]


class FiveValues:
    """An environment of gymnax whose step returns five values, as PureJaxRL expects.

    What gymnax 1.0 has added is left away, so that PureJaxRL does not carry it around.
    """

    def __init__(self, environment: Any):
        self._environment = environment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def __deepcopy__(self, memo: Any) -> "FiveValues":
        return self  # nothing in it changes, and JAX compares it by identity

    def step(self, key: Any, state: Any, action: Any, params: Any) -> Any:
        observation, state, reward, terminated, truncated, info = self._environment.step(
            key, state, action, params
        )
        kept = {"discount": info["discount"]}
        return observation, state, reward, jnp.logical_or(terminated, truncated), kept


@contextlib.contextmanager
def as_purejaxrl_expects(folder: Path) -> Iterator[None]:
    """Imports as PureJaxRL makes them: its own folder on the path, and stand-ins for the
    suites and services that it imports and its algorithms on CartPole do not use.
    """
    stand_ins = (
        "brax",
        "brax.envs",
        "brax.envs.wrappers",
        "brax.envs.wrappers.training",
        "navix",
        "wandb",
    )
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


def load_purejaxrl(checkout: Path, name: str) -> Callable[[dict[str, Any]], Program]:
    """The `make_train` of one of PureJaxRL's files, on gymnax's environments as they are today."""
    folder = checkout / "purejaxrl"
    if not (folder / f"{name}.py").exists():
        raise SystemExit(f"{folder / name}.py does not exist: clone PureJaxRL first")
    with as_purejaxrl_expects(folder):
        module = importlib.import_module(name)
        wrappers = importlib.import_module("wrappers")

    def make(name: str) -> tuple[Any, Any]:
        environment, params = gymnax.make(name)
        return FiveValues(environment), params

    module.gymnax = types.SimpleNamespace(make=make)
    # Its own: those of gymnax have six values as well.
    module.FlattenObservationWrapper = wrappers.FlattenObservationWrapper
    module.LogWrapper = wrappers.LogWrapper
    if not hasattr(jax, "tree_map"):
        jax.tree_map = jax.tree.map  # what it was called when PureJaxRL was written
    return module.make_train


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
    programs: dict[str, Program],
    returns: dict[str, Callable[[Any], float]],
    *,
    steps: int,
    repeats: int,
    num_seeds: int = 1,
) -> dict[str, Any]:
    """Two programs of so many steps, `repeats` times, in turns; ours is the first."""
    ours, theirs = programs
    if num_seeds > 1:
        programs = {name: jax.vmap(program) for name, program in programs.items()}

    def key_of(repeat: int) -> Any:
        # PureJaxRL's examples begin with PRNGKey as well.
        key = jax.random.PRNGKey(repeat)
        return key if num_seeds == 1 else jax.random.split(key, num_seeds)

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
    speed = {name: [num_seeds * steps / took for took in times] for name, times in seconds.items()}
    return {
        "num_seeds": num_seeds,
        "steps": steps,
        "steps_per_second": {name: statistics.median(v) for name, v in speed.items()},
        "speed_ratio": ratios(speed[ours], speed[theirs]),
        "compile_seconds": {name: statistics.median(v) for name, v in compile_seconds.items()},
        "compile_ratio": ratios(compile_seconds[ours], compile_seconds[theirs]),
        "final_return": {name: statistics.mean(v) for name, v in learnt.items()},
    }


def in_turn(programs: Iterable[str], repeat: int) -> list[str]:
    names = list(programs)
    return names if repeat % 2 else names[::-1]


def ratios(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Of each repetition by itself: what else the machine did then met both."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


def show(title: str, row: dict[str, Any]) -> None:
    ours, theirs = row["steps_per_second"]

    def line(title: str, values: dict[str, float], ratio: dict[str, float] | None, form: str):
        spread = ""
        if ratio is not None:
            spread = f"  {ratio['median']:5.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]"
        shown = (format(values[name], form) for name in (ours, theirs))
        print(f"  {title:<17}{next(shown):>12}{next(shown):>12}{spread}")

    seeds = f", {row['num_seeds']} seeds" if row["num_seeds"] > 1 else ""
    print(f"{title}{seeds}")
    print(f"  {'':<17}{ours:>12}{theirs:>12}  ratio [min, max]")
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


def options(title: str, other: str = "PureJaxRL", steps: int = 500_000) -> argparse.ArgumentParser:
    """The flags that all comparisons have."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument(
        f"--{other.lower()}", type=Path, required=True, help=f"a checkout of {other}"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1, help="trained at once, under vmap")
    parser.add_argument("--total-steps", type=int, default=steps)
    parser.add_argument("--json", action="store_true")
    return parser


def report(rows: dict[str, dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"machine": machine(), "results": rows}))
    for title, row in {} if as_json else rows.items():
        show(title, row)


def prepare() -> None:
    # A compilation that is read from disk is none.
    jax.config.update("jax_enable_compilation_cache", False)
