"""The linear CDE, trained in parallel over time, against the same one interval at a time.

    python tests/benchmarks/linear_cde.py

One trajectory of each length in each of several environments, forward and with the gradient
of every weight. The two forms take turns in one process at going first, so that what else the
machine does meets both; what is given is the median of the ratios of each turn.
"""

import argparse
import functools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import jax

import lerax_fx as fx

sys.path.insert(0, str(Path(__file__).parent))
from comparison import in_turn, machine, ratios, timed

FORMS = ("parallel", "sequential")


def total(agent: Any, observations: Any, resets: Any) -> Any:
    """A number that depends on every step of every trajectory."""

    def one(observations: Any, resets: Any) -> Any:
        key = jax.random.key(0)
        _, output = agent.unroll(agent.initial_memory(), observations, resets, key)
        return output.value.sum() + output.distribution.logits[..., 0].sum()

    return jax.vmap(one)(observations, resets).mean()


def programs(length: int, num_envs: int, width: int, gradient: bool) -> dict[str, Any]:
    spaces = (
        fx.envs.TimedSpace(fx.spaces.Box(-1.0, 1.0, (2,)), fx.spaces.Box(0.0, 5.0)),
        fx.spaces.Discrete(2),
    )
    keys = jax.random.split(jax.random.key(0), (num_envs, length))
    observations = jax.jit(jax.vmap(jax.vmap(spaces[0].sample)))(keys)
    resets = jax.random.bernoulli(jax.random.key(1), 0.01, (num_envs, length))
    run = jax.grad(total) if gradient else total

    def of(parallel: bool) -> Any:
        agent = fx.nde.linear_cde_actor_critic(
            spaces, key=jax.random.key(2), width=width, parallel=parallel
        )
        ready = jax.jit(run).lower(agent, observations, resets).compile()
        return functools.partial(ready, agent, observations)

    return {form: of(form == "parallel") for form in FORMS}, resets


def compared(length: int, num_envs: int, width: int, gradient: bool, repeats: int) -> Any:
    ready, resets = programs(length, num_envs, width, gradient)
    seconds: dict[str, list[float]] = {form: [] for form in FORMS}
    for form in FORMS:
        timed(ready[form], resets)
    for repeat in range(repeats):
        for form in in_turn(ready, repeat):
            seconds[form].append(timed(ready[form], resets)[0])
    parallel, sequential = (seconds[form] for form in FORMS)
    return {
        "milliseconds": {form: 1e3 * statistics.median(seconds[form]) for form in FORMS},
        "ratio": ratios(sequential, parallel),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = {
        f"{'gradient' if gradient else 'forward'}, {length} steps": compared(
            length, options.num_envs, options.width, gradient, options.repeats
        )
        for gradient in (False, True)
        for length in options.lengths
    }
    if options.json:
        print(json.dumps({"machine": machine(), "results": rows}))
        return
    print(f"{'':<22}{'parallel':>12}{'sequential':>12}  how much faster [min, max]")
    for title, row in rows.items():
        shown = "".join(f"{row['milliseconds'][form]:>9.2f} ms" for form in FORMS)
        ratio = row["ratio"]
        print(f"{title:<22}{shown}  {ratio['median']:.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]")


if __name__ == "__main__":
    main()
