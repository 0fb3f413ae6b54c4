"""Speed, compile time and memory of every recipe, in two checkouts of lerax_fx.

    python tests/benchmarks/before_after.py --before ../before --after . --repeats 5

Each checkout has a process of its own, which trains the recipes with their defaults but fewer
steps. The two take turns, and take turns at going first, so that what else the machine does meets
both; ratios (after / before) are of each repetition by itself. Compile time is that of a whole
training run, tracing included, with JAX's caches cleared and nothing read from disk. Peak memory
is that of a process that compiles and runs one recipe alone.

Where a default has changed in between, give the newer one the settings of the older:

    --after-settings '{"dqn": {"anneal": false, "double": false}}'
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

# Steps: about a second of training each, on one core.
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo": ("ppo", {"total_steps": 100_352}),
    "ppo, 64 environments": ("ppo", {"total_steps": 409_600, "num_envs": 64}),
    "a2c": ("a2c", {"total_steps": 64_000}),
    "dqn": ("dqn", {"total_steps": 100_000}),
    "c51": ("c51", {"total_steps": 30_000}),
    "qr_dqn": ("qr_dqn", {"total_steps": 30_000}),
    "pqn": ("pqn", {"total_steps": 61_440}),
    "sac": ("sac", {"total_steps": 5_000}),
    "td3": ("td3", {"total_steps": 10_000}),
    "ddpg": ("ddpg", {"total_steps": 10_000}),
    "nde_ppo, linear CDE": ("nde_ppo", {"total_steps": 40_960}),
    "nde_ppo, ODE": ("nde_ppo", {"total_steps": 20_480, "cell": "ode"}),
    "nde_ppo, GRU": ("nde_ppo", {"total_steps": 40_960, "cell": "gru"}),
    "nde_model": ("nde_model", {"total_steps": 200}),
}

# Run in each checkout, with its own lerax_fx, of which it knows recipes and train(agent, key).
WORKER = """
import importlib, json, resource, sys, time
import jax
jax.config.update("jax_enable_compilation_cache", False)
ready = {}
for line in sys.stdin:
    job = json.loads(line)
    name = job["name"]
    if job["do"] == "compile":
        jax.clear_caches()
        module = importlib.import_module("recipes." + job["recipe"])
        def program(key, module=module, settings=job["settings"]):
            agent_key, train_key = jax.random.split(key)
            agent, train = module.make(key=agent_key, **settings)
            return train(agent, train_key)
        began = time.perf_counter()
        ready[name] = jax.jit(program).lower(jax.random.key(0)).compile()
    else:
        began = time.perf_counter()
        jax.block_until_ready(ready[name](jax.random.key(job["seed"])))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak": peak}), flush=True)
"""


class Checkout:
    """A process that runs recipes of one checkout."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        self.settings = settings
        environment = {**os.environ, "PYTHONPATH": str(folder.resolve())}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, do: str, name: str, seed: int = 0) -> dict[str, float]:
        recipe, settings = RECIPES[name]
        settings = settings | self.settings
        job = {"do": do, "name": name, "recipe": recipe, "settings": settings, "seed": seed}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{name}: the process ended; its error is above")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measured(
    folders: dict[str, Path],
    name: str,
    repeats: int,
    compiles: int,
    after_settings: dict[str, Any],
) -> dict[str, Any]:
    """Of each checkout: seconds to compile and to run, and peak memory in MB."""
    checkouts = {
        label: Checkout(folder, after_settings if label == "after" else {})
        for label, folder in folders.items()
    }
    seconds: dict[str, dict[str, list[float]]] = {
        label: {"compile": [], "run": []} for label in folders
    }
    peaks: dict[str, float] = {}
    # The first compile and the first run load what later ones find loaded.
    for do, count in (("compile", compiles), ("run", repeats)):
        for repeat in range(count + 1):
            labels = list(folders) if repeat % 2 else list(folders)[::-1]
            for label in labels:
                answer = checkouts[label](do, name, repeat)
                if repeat:
                    seconds[label][do].append(answer["seconds"])
                elif do == "run":
                    peaks[label] = answer["peak"]
    for checkout in checkouts.values():
        checkout.close()
    return {"seconds": seconds, "peak": peaks}


def ratio(result: dict[str, Any], do: str) -> str:
    """After / before, pair by pair: the median and the range."""
    before, after = (result["seconds"][label][do] for label in ("before", "after"))
    each = [a / b for a, b in zip(after, before, strict=True)]
    return f"{statistics.median(each):.3f} [{min(each):.3f}, {max(each):.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="a checkout")
    parser.add_argument("--after", type=Path, default=Path("."), help="another checkout")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compiles", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument(
        "--after-settings", type=json.loads, default={}, help="JSON: settings by row, of `after`"
    )
    chosen = parser.parse_args()
    folders = {"before": chosen.before, "after": chosen.after}
    print("| recipe | run time, after / before | compile time | peak memory, MB |")
    print("|---|---|---|---|")
    for name in chosen.only:
        result = measured(
            folders, name, chosen.repeats, chosen.compiles, chosen.after_settings.get(name, {})
        )
        peaks = " -> ".join(f"{result['peak'][label]:,.0f}" for label in folders)
        print(
            f"| {name} | {ratio(result, 'run')} | {ratio(result, 'compile')} | {peaks} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
