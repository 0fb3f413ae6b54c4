"""The command line of recipes: flags, a progress bar, a summary."""

import dataclasses
import inspect
import json
import math
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Annotated, Any

import jax
import numpy as np

import lerax_fx as fx

Make = Callable[..., tuple[Any, fx.loops.AnakinLoop]]
Algorithm = Callable[..., fx.Transform[None, Any]]
Task = Callable[..., fx.Env]
"""From `env` and options of a recipe to the environment that its agent acts in."""

EVALUATION_EPISODES = 128
_CALLS = 50  # into how many pieces a run is cut, at least, for the bar to move


def main(
    make: Make, algorithm: Algorithm, *, task: Task | None = None, threads: int | None = None
) -> None:
    """Run a recipe from the shell; its options are the flags.

    With a `task`, the agent is evaluated in that. `threads` is what `--threads` is by default,
    unless the environment has an `NPROC`: 1 where an update is too small to be worth several,
    as docs/performance.md measures.

    `--threads` is read by XLA's CPU backend when it starts, which is when JAX first computes
    something: nothing before it must.
    """
    import tyro

    threads = None if "NPROC" in os.environ else threads
    options = tyro.cli(
        options_of(make, algorithm, threads), description=inspect.getdoc(inspect.getmodule(make))
    )
    settings = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    as_json, seed, threads, env = (
        settings.pop(name) for name in ("json", "seed", "threads", "env")
    )
    try:
        if threads is not None:
            os.environ["NPROC"] = str(fx.arguments.check_count("threads", threads))
        summary = run(make, env, seed, settings, show=not as_json, task=task)
    except fx.LeraxError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    if as_json:
        print(json.dumps(summary))


def options_of(make: Make, algorithm: Algorithm, threads: int | None = None) -> type[Any]:
    """A dataclass of a recipe's options, for the command line: those of `make`, with the defaults
    of `algorithm` for the ones that it passes on; a seed, how many threads to use on a CPU (None
    for as many as there are cores), and whether the summary is to be JSON.
    """
    import tyro

    parameters = {**inspect.signature(algorithm).parameters, **inspect.signature(make).parameters}
    fields: list[tuple[str, Any, Any]] = []
    for name in fx.arguments.keyword_names(make):
        if name in ("agent", "key"):
            continue
        parameter = parameters[name]
        optional = parameter.default is None
        kind = parameter.annotation if optional else type(parameter.default)
        if name.endswith("_"):  # lambda_ is a keyword of Python, not of the shell
            aliases = (f"--{name}", f"--{name[:-1]}-")
            kind = Annotated[kind, tyro.conf.arg(name=name.rstrip("_"), aliases=aliases)]
        fields.append((name, kind, parameter.default))
    fields += [("seed", int, 0), ("threads", int | None, threads), ("json", bool, False)]
    return dataclasses.make_dataclass("Options", fields, frozen=True)


def run(
    make: Make,
    env: Any,
    seed: int,
    settings: dict[str, Any],
    *,
    show: bool = True,
    task: Task | None = None,
) -> dict[str, Any]:
    """Train, evaluate, and give the summary, shown or not.

    This is the one place where a clock is read. The run is cut into equal pieces, between
    which the bar moves; cut or not, it is the same run.
    """
    began = time.perf_counter()
    agent_key, train_key, evaluate_key = jax.random.split(jax.random.key(seed), 3)
    agent, train = make(env, key=agent_key, **settings)
    per_call = piece(train.num_updates)

    compile_began = time.perf_counter()
    state = train.init(agent, train_key)
    step = train.compile_step(state, per_call, donate=True)
    compile_seconds = time.perf_counter() - compile_began

    train_began = time.perf_counter()
    steps = 0
    with progress(train.num_updates, show) as advance:
        for _ in range(train.num_updates // per_call):
            state, metrics = step(state)
            steps = int(metrics["steps"][-1])
            advance(per_call, metrics)
    jax.block_until_ready(state.agent)
    train_seconds = time.perf_counter() - train_began

    # Not what the algorithm acts in, which may scale the rewards.
    acted_in = fx.make(env) if task is None else task(env, **options_within(task, settings))
    evaluation = fx.evaluate(acted_in, state.agent, evaluate_key, num_episodes=EVALUATION_EPISODES)
    summary = {
        "env": acted_in.name,
        "seed": seed,
        "steps": steps,
        "eval_return_mean": float(evaluation.episode_return.mean()),
        "eval_return_std": float(evaluation.episode_return.std()),
        "steps_per_second": steps / train_seconds,
        "compile_seconds": compile_seconds,
        "wall_seconds": time.perf_counter() - began,
    }
    if show:
        show_summary(summary)
    return summary


def options_within(task: Task, settings: dict[str, Any]) -> dict[str, Any]:
    """Those of a recipe's options that its task has."""
    names = fx.arguments.keyword_names(task)
    return {name: value for name, value in settings.items() if name in names}


def piece(num_updates: int) -> int:
    """The number of updates between two moves of the progress bar: the largest divisor of
    `num_updates` that leaves at least `_CALLS` pieces, or 1.
    """
    largest = max(1, num_updates // _CALLS)
    return next(size for size in range(largest, 0, -1) if num_updates % size == 0)


@contextmanager
def progress(num_updates: int, show: bool) -> Generator[Callable[[int, fx.typing.Metrics], None]]:
    """A progress bar with the latest return; the function that moves it."""
    if not show:
        yield lambda updates, metrics: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[steps]:>11,} steps"),
        BarColumn(),
        TextColumn("return {task.fields[episode_return]:>8.1f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("", total=num_updates, steps=0, episode_return=math.nan)

        def advance(updates: int, metrics: fx.typing.Metrics) -> None:
            returns = np.asarray(metrics["episode_return"])
            known = returns[~np.isnan(returns)]
            # A piece in which no episode ended leaves the return as it was.
            latest = known.mean() if known.size else bar.tasks[task].fields["episode_return"]
            steps = int(metrics["steps"][-1])
            bar.update(task, advance=updates, steps=steps, episode_return=latest)

        yield advance


def show_summary(summary: dict[str, Any]) -> None:
    """Print the summary of a run."""
    print(
        f"{summary['env']}, seed {summary['seed']}: "
        f"return {summary['eval_return_mean']:.1f} +- {summary['eval_return_std']:.1f} "
        f"(greedy, mean and deviation over {EVALUATION_EPISODES} episodes)\n"
        f"{summary['steps']:,} steps at {summary['steps_per_second']:,.0f} a second, "
        f"after {summary['compile_seconds']:.1f} s to compile; "
        f"{summary['wall_seconds']:.1f} s in all"
    )
