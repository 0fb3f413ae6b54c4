"""Soft actor-critic with a learnt temperature (Haarnoja et al. 2018, arXiv 1812.05905), for
continuous or discrete actions (Christodoulou 2019).

    python -m recipes.sac --env Pendulum-v1

The defaults learn Pendulum-v1.
"""

from typing import Any

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from lerax_fx._core.arguments import suggest_keywords
from recipes.shell import main


@suggest_keywords
def make(
    env: Any = "Pendulum-v1",
    *,
    key: fx.typing.Key,
    total_steps: int = 20_000,
    num_envs: int = 1,
    num_steps: int = 1,
    capacity: int = 50_000,
    batch_size: int = 128,
    warmup: int = 1_000,
    width: int = 64,
    actor_rate: ScalarLike = 1e-3,
    critic_rate: ScalarLike = 1e-3,
    temperature_rate: ScalarLike = 1e-3,
    discount: ScalarLike = 0.99,
    n: int = 1,
    temperature: ScalarLike = 1.0,
    target_entropy: float | None = None,
    target_step_size: ScalarLike = 0.005,
) -> tuple[fx.agents.AbstractActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with discrete actions, or
    real-valued ones between finite bounds. **Returns:** `(agent, train)`, with
    `train(agent, key) -> (agent, metrics)`; metrics hold one value per update. `temperature`
    is the initial one, `target_entropy` that of `fx.temperature_loss`.
    """
    env = fx.make(env)
    agent = fx.soft_actor_critic(env, key=key, widths=(width, width), temperature=temperature)
    alpha_loss = fx.temperature_loss(target_entropy=target_entropy)
    actor_optimizer = fx.optimizer(optax.adam, actor_rate)
    critic_optimizer = fx.optimizer(optax.adam, critic_rate)
    temperature_optimizer = fx.optimizer(optax.adam, temperature_rate)
    learn = fx.chain(
        fx.sac_target(discount=discount, n=n, update=fx.polyak(target_step_size)),
        critic=fx.minimize(fx.q_critic_loss(), critic_optimizer, part="critic"),
        actor=fx.minimize(fx.sac_policy_loss(), actor_optimizer, part="actor"),
        temperature=fx.minimize(alpha_loss, temperature_optimizer, part="log_temperature"),
    )
    algorithm = fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps),
        fx.replay(learn, capacity=capacity, batch_size=batch_size, warmup=warmup, length=n),
    )
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, threads=1)
