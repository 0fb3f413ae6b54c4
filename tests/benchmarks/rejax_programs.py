"""Rejax's programs, on gymnax's environments as they are today.

Of Rejax nothing is changed but what it cannot run without: gymnax 1.0's step gives six
values where Rejax expects five, so it gets the wrapper that PureJaxRL gets (`FiveValues`).

Rejax evaluates 128 episodes every `eval_freq` steps. Here that is once, at the end, which is
the rarest it can be told to; ours evaluates as many episodes at its end, and both are timed
with it. Rejax counts a time limit as the end of an episode, ours bootstraps through it.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnax
import jax
from comparison import FiveValues, Program

import lerax_fx as fx

EVALUATION_EPISODES = 128  # written down in Rejax
Make = Callable[[Any, int], tuple[Any, fx.loops.AnakinLoop]]


def rejax_algorithm(checkout: Path, name: str, env: str, settings: dict[str, Any]) -> Any:
    """One of Rejax's algorithms, with these of its settings."""
    folder = checkout / "src"
    if not (folder / "rejax").exists():
        raise SystemExit(f"{folder / 'rejax'} does not exist: clone Rejax first")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    rejax = importlib.import_module("rejax")
    environment, params = gymnax.make(env)
    algorithm = rejax.get_algo(name)
    return algorithm.create(env=FiveValues(environment), env_params=params, **settings)


def rejax_program(
    checkout: Path, name: str, env: str, settings: dict[str, Any], total_steps: int
) -> Program:
    """A run that is evaluated once, at its end."""
    once = {"total_timesteps": total_steps, "eval_freq": total_steps}
    settings = {**settings, **once, "skip_initial_evaluation": True}
    return rejax_algorithm(checkout, name, env, settings).train


def rejax_return(output: Any) -> float:
    """The mean return of the last evaluation."""
    _, (_, returns) = output
    return float(returns[..., -1, :].mean())


def our_program(env: Any, make: Make, total_steps: int) -> Program:
    """The same on our side: `make(key, total_steps)` gives an agent and its loop."""

    def program(key: Any) -> Any:
        agent_key, train_key, evaluate_key = jax.random.split(key, 3)
        agent, train = make(agent_key, total_steps)
        agent, metrics = train(agent, train_key)
        evaluation = fx.evaluate(env, agent, evaluate_key, num_episodes=EVALUATION_EPISODES)
        return agent, metrics, evaluation.episode_return

    return program


def our_return(output: Any) -> float:
    return float(output[-1].mean())
