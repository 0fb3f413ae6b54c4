"""Soft actor-critic with a learnt temperature (Haarnoja et al. 2018, arXiv 1812.05905), for
continuous or discrete actions (Christodoulou 2019).

    python -m recipes.sac --env Pendulum-v1

The defaults learn Pendulum-v1.
"""

from typing import Any, TypedDict, Unpack

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from recipes.shell import main


class Settings(TypedDict, total=False):
    """What `make` passes on to `sac`, where the defaults are."""

    capacity: int
    batch_size: int
    actor_rate: ScalarLike
    critic_rate: ScalarLike
    temperature_rate: ScalarLike
    discount: ScalarLike
    n: int
    target_entropy: float | None
    target_step_size: ScalarLike


@fx.arguments.suggest_keywords
def sac(
    env: Any,
    *,
    num_envs: int,
    num_steps: int,
    warmup: int,
    capacity: int = 50_000,
    batch_size: int = 128,
    actor_rate: ScalarLike = 1e-3,
    critic_rate: ScalarLike = 1e-3,
    temperature_rate: ScalarLike = 1e-3,
    discount: ScalarLike = 0.99,
    n: int = 1,
    target_entropy: float | None = None,
    target_step_size: ScalarLike = 0.005,
) -> fx.Transform[None, fx.data.Rollout]:
    """The algorithm, for discrete actions, or continuous ones between finite bounds.

    `target_entropy` is that of `fx.temperature_loss`.
    """
    learn = fx.chain(
        fx.sac_target(discount=discount, n=n, update=fx.polyak(target_step_size)),
        critic=fx.minimize(
            fx.q_critic_loss(), fx.optimizer(optax.adam, critic_rate), part="critic"
        ),
        actor=fx.minimize(fx.sac_policy_loss(), fx.optimizer(optax.adam, actor_rate), part="actor"),
        temperature=fx.minimize(
            fx.temperature_loss(target_entropy=target_entropy),
            fx.optimizer(optax.adam, temperature_rate),
            part="log_temperature",
        ),
    )
    return fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps),
        fx.replay(learn, capacity=capacity, batch_size=batch_size, warmup=warmup, length=n),
    )


@fx.arguments.suggest_keywords
def make(
    env: Any = "Pendulum-v1",
    *,
    key: fx.typing.Key,
    agent: fx.agents.ActorCritic | None = None,
    width: int = 64,
    temperature: ScalarLike = 1.0,
    total_steps: int = 20_000,
    num_envs: int = 1,
    num_steps: int = 1,
    warmup: int = 1_000,
    **settings: Unpack[Settings],
) -> tuple[fx.agents.ActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with discrete actions, or continuous ones
    between finite bounds; `agent` one of your own, by default an `fx.soft_actor_critic` with two
    hidden layers of `width` and the initial `temperature`; `settings` are keywords of `sac`.
    **Returns:** `(agent, train)`, with `train(agent, key) -> (agent, metrics)`; metrics hold one
    value per update.
    """
    env = fx.make(env)
    if agent is None:
        widths = (width, width)
        agent = fx.soft_actor_critic(env, key=key, widths=widths, temperature=temperature)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    algorithm = sac(env, num_envs=num_envs, num_steps=num_steps, warmup=warmup, **settings)
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, sac, threads=1)
