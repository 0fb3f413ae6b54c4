"""Proximal policy optimisation of recurrent agents in partially observable environments: velocities
are masked, and observations may come at random intervals.

    python -m recipes.nde_ppo --cell gru --max-interval 3

The defaults learn CartPole-v1.
"""

import difflib
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from lerax_fx._core.arguments import check_count, suggest_keywords
from lerax_fx.errors import format_error
from recipes.shell import main

CELLS: Final[MappingProxyType[str, Callable[..., Any]]] = MappingProxyType(
    {
        "ode": fx.nde.ode_actor_critic,
        "cde": fx.nde.cde_actor_critic,
        "linear_cde": fx.nde.linear_cde_actor_critic,
        "gru": fx.agents.gru_actor_critic,
        "mlp": fx.agents.mlp_actor_critic,
    }
)
"""The recurrent cells; `mlp` is feedforward."""


def task(env: Any, *, mask_velocities: bool = True, max_interval: int = 1, **_: Any) -> fx.Env:
    """The environment that is trained in, and that the agent is evaluated in."""
    check_count("nde_ppo: max_interval", max_interval)
    env = fx.envs.mask_velocities(env) if mask_velocities else fx.make(env)
    return env if max_interval == 1 else fx.envs.IrregularTime(env, max_interval)


@suggest_keywords
def make(
    env: Any = "CartPole-v1",
    *,
    key: fx.typing.Key,
    cell: str = "linear_cde",
    mask_velocities: bool = True,
    max_interval: int = 1,
    width: int = 64,
    total_steps: int = 500_000,
    num_envs: int = 64,
    num_steps: int = 32,
    num_epochs: int = 4,
    num_minibatches: int = 4,
    learning_rate: ScalarLike = 1e-3,
    anneal: bool = True,
    discount: ScalarLike = 0.99,
    lambda_: ScalarLike = 0.95,
    clip: ScalarLike = 0.2,
    value_weight: ScalarLike = 0.5,
    entropy_weight: ScalarLike = 0.01,
    max_grad_norm: ScalarLike = 0.5,
    normalize_reward: bool = True,
) -> tuple[fx.agents.AbstractActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`. **Returns:** `(agent, train)`,
    with `train(agent, key) -> (agent, metrics)`; metrics hold one value per update.
    `cell` is the agent's recurrent cell, one of `CELLS`; observations are `max_interval`
    steps of the environment apart at most, and `total_steps` counts observations. Returns
    are reported as they are. Rewards are normalised while training, because policy and value
    share a memory: where returns are large, the value's gradient is all that is left of the
    two when their norm is clipped.
    """
    env = task(env, mask_velocities=mask_velocities, max_interval=max_interval)
    agent = _cell(cell)(env, key=key, width=width)
    if normalize_reward:
        env = fx.envs.NormalizeReward(env, discount=discount)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps)
    schedule = fx.anneal(
        learning_rate, num_updates=num_updates, steps_per_update=num_epochs * num_minibatches
    )
    optimizer = fx.optimizer(
        optax.chain,
        fx.optimizer(optax.clip_by_global_norm, max_grad_norm),
        fx.optimizer(optax.adam, schedule if anneal else learning_rate, eps=1e-5),
    )
    loss = fx.ppo_loss(clip=clip, value_weight=value_weight, entropy_weight=entropy_weight)
    algorithm = fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps),
        fx.gae(discount=discount, lambda_=lambda_),
        fx.minibatch(
            fx.chain(fx.normalize_advantage(), fx.minimize(loss, optimizer)),
            num_epochs=num_epochs,
            num_minibatches=num_minibatches,
        ),
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


def _cell(name: str) -> Callable[..., Any]:
    if name in CELLS:
        return CELLS[name]
    near = difflib.get_close_matches(name, CELLS, n=1)
    raise fx.HyperparameterError(
        format_error(
            "nde_ppo: cell",
            wanted=f"one of {', '.join(CELLS)}",
            got=repr(name),
            fix=f"Did you mean {near[0]!r}?" if near else "Pick one of those.",
        )
    )


if __name__ == "__main__":
    main(make, task)
