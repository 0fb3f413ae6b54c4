"""What agents learn by each kind of memory where velocities are hidden.

    python tests/benchmarks/memories.py --intervals 1 3 --plots docs/images

`recipes.nde_ppo` on CartPole-v1, 5 seeds at once: greedy returns, and those of the training
episodes over each tenth of the run. `--plots` draws the curves, and the memory of an ODE-RNN
over an episode whose observations are 1 to 3 steps apart.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from comparison import machine

import lerax_fx as fx
from recipes import nde_ppo

TENTHS = 10
_DENSE = 20  # points in each interval of a plot


def learnt(cell: str, interval: int, seeds: int, first: int, **config: Any) -> dict[str, Any]:
    """Agents, their greedy returns, and the training returns over the tenths, by seed."""
    env = nde_ppo.task("CartPole-v1", max_interval=interval)

    def one(key: Any) -> Any:
        agent_key, train_key, evaluate_key = jax.random.split(key, 3)
        agent, train = nde_ppo.make(env, key=agent_key, mask_velocities=False, cell=cell, **config)
        agent, metrics = train(agent, train_key)
        evaluation = fx.evaluate(env, agent, evaluate_key)
        return agent, evaluation.episode_return.mean(), metrics["episode_return"]

    began = time.perf_counter()
    keys = jax.random.split(jax.random.key(first), seeds)
    agents, returns, curves = jax.jit(jax.vmap(one))(keys)
    tenths = np.array_split(np.asarray(curves), TENTHS, axis=1)
    return {
        "agents": agents,
        "returns": np.asarray(returns),
        "tenths": np.stack([np.nanmean(tenth, axis=1) for tenth in tenths], axis=1),
        "seconds": time.perf_counter() - began,
    }


def memory_over_time(agent: Any, key: Any, observations: int) -> tuple[Any, Any, Any]:
    """Of an ODE-RNN that acts greedily: times, memories between observations, and when these
    came.
    """
    env = nde_ppo.task("CartPole-v1", max_interval=3)
    flow = partial(fx.nde.nde_solve.function, agent.vector_field, solver="rk4")

    def act(carry: Any, key: Any) -> Any:
        state, observation, memory, now = carry
        fractions = jnp.linspace(0.0, 1.0, _DENSE) * observation.dt
        between = jax.vmap(lambda dt: flow(memory, dt).final)(fractions)
        memory, output = agent.step(memory, observation, key)
        timestep = env.step(state, output.distribution.mode(), key=key)
        then = now + observation.dt
        carry = timestep.state, timestep.observation, memory, then
        return carry, (now + fractions, between, then)

    state, observation = env.reset(key=key)
    carry = state, observation, agent.initial_memory(), jnp.zeros(())
    return jax.lax.scan(act, carry, jax.random.split(key, observations))[1]


def draw_curves(results: dict[tuple[str, int], dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    intervals = sorted({interval for _, interval in results})
    _, axes = plt.subplots(1, len(intervals), figsize=(4.2 * len(intervals), 3.4), squeeze=False)
    for axis, interval in zip(axes[0], intervals, strict=True):
        for (cell, own), result in results.items():
            if own == interval:
                middle = (np.arange(TENTHS) + 0.5) / TENTHS
                low, high = result["tenths"].min(axis=0), result["tenths"].max(axis=0)
                axis.fill_between(middle, low, high, alpha=0.15, linewidth=0)
                axis.plot(middle, result["tenths"].mean(axis=0), label=cell)
        axis.set(
            title=f"observations 1 to {interval} steps apart" if interval > 1 else "every step"
        )
        axis.set(xlabel="part of the run", ylabel="return of training episodes", ylim=(0, 510))
    axes[0, 0].legend()
    plt.tight_layout()
    plt.savefig(path, dpi=110)
    plt.close()


def draw_memory(agent: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    times, memories, arrivals = memory_over_time(agent, jax.random.key(1), 16)
    moving = np.argsort(-np.asarray(memories).std(axis=(0, 1)))[:4]
    _, axis = plt.subplots(figsize=(8.4, 3.2))
    for color, entry in enumerate(moving):
        for interval in range(len(times)):
            axis.plot(times[interval], memories[interval, :, entry], color=f"C{color}")
    for arrival in np.asarray(arrivals):
        axis.axvline(arrival, color="0.8", linewidth=0.8, zorder=0)
    axis.set(xlabel="time, in steps of the environment", ylabel="four entries of the memory")
    plt.tight_layout()
    plt.savefig(path, dpi=110)
    plt.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="*", default=list(nde_ppo.CELLS))
    parser.add_argument("--intervals", type=int, nargs="*", default=[1, 3])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--total-steps", type=int, default=500_000)
    parser.add_argument("--plots", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[tuple[str, int], dict[str, Any]] = {}
    for interval in options.intervals:
        for cell in options.cells:
            result = learnt(
                cell,
                interval,
                options.seeds,
                options.first_seed,
                total_steps=options.total_steps,
            )
            results[cell, interval] = result
            if not options.json:
                each, returns = result["returns"].round(1).tolist(), result["returns"]
                print(f"{cell}, {interval}: {returns.mean():.1f} +- {returns.std():.1f} {each}")
                print(f"    {result['tenths'].mean(axis=0).round(0).astype(int).tolist()}")
                print(f"    {result['seconds']:.0f} seconds", flush=True)
    if options.json:
        rows = {
            f"{cell}, {interval}": r["returns"].tolist() for (cell, interval), r in results.items()
        }
        print(json.dumps({"machine": machine(), "returns": rows}))
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        draw_curves(results, options.plots / "memories.png")
        if ("ode", 3) in results:
            agent = jax.tree.map(lambda x: x[0], results["ode", 3]["agents"])
            draw_memory(agent, options.plots / "memory_of_an_ode_rnn.png")


if __name__ == "__main__":
    main()
