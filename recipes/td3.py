"""TD3: twin critics, target policy smoothing, delayed updates (Fujimoto et al. 2018).

    python -m recipes.td3 --env Pendulum-v1

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
    discount: ScalarLike = 0.99,
    n: int = 1,
    noise: ScalarLike = 0.1,
    target_noise: ScalarLike = 0.2,
    target_noise_clip: ScalarLike = 0.5,
    target_step_size: ScalarLike = 0.005,
    delay: int = 2,
) -> tuple[fx.agents.AbstractActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with real-valued actions between
    finite bounds. **Returns:** `(agent, train)`, with `train(agent, key) -> (agent,
    metrics)`; metrics hold one value per update. Noise is in units of half the width between
    the bounds; the actor and the targets are updated in every `delay`-th gradient step.
    """
    env = fx.make(env)
    agent = fx.deterministic_actor_critic(env, key=key, widths=(width, width))
    target = fx.td3_target(
        discount=discount,
        n=n,
        noise=target_noise,
        clip=target_noise_clip,
        update=fx.polyak(target_step_size, period=delay),
    )
    actor_optimizer = fx.optimizer(optax.adam, actor_rate)
    critic_optimizer = fx.optimizer(optax.adam, critic_rate)
    learn_actor = fx.minimize(fx.dpg_loss(), actor_optimizer, part="actor")
    learn = fx.chain(
        target,
        critic=fx.minimize(fx.q_critic_loss(), critic_optimizer, part="critic"),
        actor=fx.every(delay, learn_actor),
    )
    algorithm = fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps, explore=fx.gaussian_noise(noise)),
        fx.replay(learn, capacity=capacity, batch_size=batch_size, warmup=warmup, length=n),
    )
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, threads=1)
