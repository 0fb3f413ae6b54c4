"""DDPG (Lillicrap et al. 2016): TD3 with its three additions taken away.

    python -m recipes.ddpg --env Pendulum-v1

One critic instead of two, targets without smoothing, and the actor and the targets updated
in every gradient step. The defaults learn Pendulum-v1.
"""

from typing import Any, Unpack

import lerax_fx as fx
from recipes.shell import main
from recipes.td3 import Shared, td3


@fx.arguments.suggest_keywords
def ddpg(
    env: Any, *, num_envs: int, num_steps: int, warmup: int, **settings: Unpack[Shared]
) -> fx.Transform[None, fx.data.Rollout]:
    """The algorithm, for continuous actions between finite bounds, and an agent with one critic."""
    return td3(
        env,
        num_envs=num_envs,
        num_steps=num_steps,
        warmup=warmup,
        target_noise=None,
        delay=1,
        **settings,
    )


@fx.arguments.suggest_keywords
def make(
    env: Any = "Pendulum-v1",
    *,
    key: fx.typing.Key,
    agent: fx.agents.ContinuousQ | None = None,
    width: int = 64,
    total_steps: int = 20_000,
    num_envs: int = 1,
    num_steps: int = 1,
    warmup: int = 1_000,
    **settings: Unpack[Shared],
) -> tuple[fx.agents.ContinuousQ, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with continuous actions between finite
    bounds; `agent` one of your own, by default an `fx.deterministic_actor_critic` with one
    critic and two hidden layers of `width`; `settings` are keywords of `td3`. **Returns:**
    `(agent, train)`, with `train(agent, key) -> (agent, metrics)`; metrics hold one value per
    update.
    """
    env = fx.make(env)
    if agent is None:
        agent = fx.deterministic_actor_critic(env, key=key, widths=(width, width), num_critics=1)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    algorithm = ddpg(env, num_envs=num_envs, num_steps=num_steps, warmup=warmup, **settings)
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, td3, threads=1)
