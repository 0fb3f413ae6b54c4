"""QR-DQN, deep Q-learning of quantiles of the return (Dabney et al. 2018).

    python -m recipes.qr_dqn --num-quantiles 200

C51 with another agent and another loss. The defaults are those of `c51.py`, with half its
learning rate, and learn CartPole-v1. The paper's `huber` is 1, for rewards clipped to [-1, 1];
with it the values of one of five seeds diverged here, double or not.
"""

from typing import Any, Unpack

import equinox as eqx
from jaxtyping import ScalarLike

import lerax_fx as fx
from recipes.c51 import Settings, c51
from recipes.shell import main


@fx.arguments.suggest_keywords
def qr_dqn(
    env: Any,
    *,
    num_envs: int,
    num_steps: int,
    warmup: int,
    learning_rate: ScalarLike,
    huber: ScalarLike,
    **settings: Unpack[Settings],
) -> fx.Chain[None, fx.data.Rollout]:
    """The algorithm, for discrete actions: `c51` with its loss replaced."""
    algorithm = c51(
        env,
        num_envs=num_envs,
        num_steps=num_steps,
        warmup=warmup,
        learning_rate=learning_rate,
        **settings,
    )
    loss = fx.quantile_regression_loss(huber=huber)
    return eqx.tree_at(lambda chain: chain["replay/minimize"].loss, algorithm, loss)


@fx.arguments.suggest_keywords
def make(
    env: Any = "CartPole-v1",
    *,
    key: fx.typing.Key,
    agent: fx.agents.ActorCritic | None = None,
    num_quantiles: int = 32,
    total_steps: int = 500_000,
    num_envs: int = 10,
    num_steps: int = 1,
    warmup: int = 10_000,
    learning_rate: ScalarLike = 1.25e-4,
    huber: ScalarLike = 10.0,
    **settings: Unpack[Settings],
) -> tuple[fx.agents.ActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with discrete actions; `agent` one of
    your own, by default an `fx.quantile_q_agent`; `settings` are keywords of `c51`.
    **Returns:** `(agent, train)`, with `train(agent, key) -> (agent, metrics)`; metrics hold one
    value per update.
    """
    env = fx.make(env)
    if agent is None:
        agent = fx.quantile_q_agent(env, key=key, num_quantiles=num_quantiles)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    algorithm = qr_dqn(
        env,
        num_envs=num_envs,
        num_steps=num_steps,
        warmup=warmup,
        learning_rate=learning_rate,
        huber=huber,
        **settings,
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, c51, threads=1)
