"""Proximal policy optimisation of recurrent agents in partially observable environments: velocities
are masked, and observations may come at random intervals.

    python -m recipes.nde_ppo --cell gru --max-interval 3

PPO with another agent, in another task. The defaults learn CartPole-v1.
"""

import difflib
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, Unpack

from jaxtyping import ScalarLike

import lerax_fx as fx
from recipes.ppo import Settings, ppo
from recipes.shell import main

CELLS: Final[MappingProxyType[str, Callable[..., fx.agents.ActorCritic]]] = MappingProxyType(
    {
        "ode": fx.nde.ode_actor_critic,
        "cde": fx.nde.cde_actor_critic,
        "linear_cde": fx.nde.linear_cde_actor_critic,
        "gru": fx.agents.gru_actor_critic,
        "mlp": fx.agents.mlp_actor_critic,
    }
)
"""The recurrent cells; `mlp` is feedforward."""


@fx.arguments.suggest_keywords
def task(env: Any, *, mask_velocities: bool = True, max_interval: int = 1) -> fx.Env:
    """The environment that is trained in, and that the agent is evaluated in: its observations
    are at most `max_interval` steps of `env` apart.
    """
    fx.arguments.check_count("nde_ppo: max_interval", max_interval)
    env = fx.envs.mask_velocities(env) if mask_velocities else fx.make(env)
    return env if max_interval == 1 else fx.envs.IrregularTime(env, max_interval)


@fx.arguments.suggest_keywords
def make(
    env: Any = "CartPole-v1",
    *,
    key: fx.typing.Key,
    agent: fx.agents.ActorCritic | None = None,
    cell: str = "linear_cde",
    width: int = 64,
    mask_velocities: bool = True,
    max_interval: int = 1,
    total_steps: int = 500_000,
    num_envs: int = 64,
    num_steps: int = 32,
    learning_rate: ScalarLike = 1e-3,
    normalize_reward: bool = True,
    **settings: Unpack[Settings],
) -> tuple[fx.agents.ActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, of which `task` makes the environment
    that is trained in; `agent` one of your own for that, by default one with the recurrent
    `cell`, one of `CELLS`, and `width`; `settings` are keywords of `ppo`; `total_steps` counts
    observations. **Returns:** `(agent, train)`, with `train(agent, key) -> (agent, metrics)`;
    metrics hold one value per update.

    Rewards are normalised while training, because policy and value share a hidden state: where
    returns are large, the value's gradient is all that is left of the two when their norm is
    clipped.
    """
    env = task(env, mask_velocities=mask_velocities, max_interval=max_interval)
    agent = _constructor(cell)(env, key=key, width=width) if agent is None else agent
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps)
    algorithm = ppo(
        env,
        num_envs=num_envs,
        num_steps=num_steps,
        num_updates=num_updates,
        learning_rate=learning_rate,
        normalize_reward=normalize_reward,
        **settings,
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


def _constructor(cell: str) -> Callable[..., fx.agents.ActorCritic]:
    if cell in CELLS:
        return CELLS[cell]
    near = difflib.get_close_matches(cell, CELLS, n=1)
    raise fx.HyperparameterError(
        fx.arguments.format_error(
            "nde_ppo: cell",
            wanted=f"one of {', '.join(CELLS)}",
            got=repr(cell),
            fix=f"Did you mean {near[0]!r}?" if near else "Pick one of those.",
        )
    )


if __name__ == "__main__":
    main(make, ppo, task=task)
