"""Planning on a learnt model in continuous time (Du et al. 2020; Yildiz et al. 2021): the
model is a neural ordinary differential equation, the planner the cross-entropy method.

    python -m recipes.nde_model --env Pendulum-v1

The defaults learn Pendulum-v1 from 2,000 steps.
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
    total_steps: int = 2_000,
    num_envs: int = 4,
    num_steps: int = 1,
    capacity: int = 100_000,
    batch_size: int = 128,
    warmup: int = 128,
    updates_per_step: int = 16,
    window: int = 4,
    learning_rate: ScalarLike = 3e-3,
    width: int = 32,
    latent: int | None = None,
    termination: bool = False,
    horizon: int = 20,
    num_samples: int = 32,
    num_elites: int = 4,
    num_iterations: int = 3,
    discount: float = 0.99,
    noise_start: ScalarLike = 1.0,
    noise_end: ScalarLike = 0.1,
    noise_steps: int = 1_000,
) -> tuple[fx.agents.AbstractActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, whose observations are a `Box` and
    whose actions real numbers between finite bounds. **Returns:** `(agent, train)`, with
    `train(agent, key) -> (agent, metrics)`; metrics hold one value per update. There are
    `updates_per_step` gradient steps in each update; `window` is how many steps the model
    predicts in a row while it learns; the noise is in units of half the width between an
    action's bounds, and falls over `noise_steps` environment steps.
    """
    env = fx.make(env)
    agent = fx.planning.planning_agent(
        env,
        key=key,
        width=width,
        latent=latent,
        termination=termination,
        horizon=horizon,
        num_samples=num_samples,
        num_elites=num_elites,
        num_iterations=num_iterations,
        discount=discount,
    )
    noise = fx.schedule(optax.linear_schedule, noise_start, noise_end, noise_steps)
    optimizer = fx.optimizer(optax.adam, learning_rate)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    algorithm = fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps, explore=fx.gaussian_noise(noise)),
        fx.replay(
            fx.minimize(fx.losses.dynamics_loss(), optimizer, part="model"),
            capacity=min(capacity, total_steps),
            batch_size=batch_size,
            warmup=warmup,
            updates_per_step=updates_per_step,
            length=window,
            memory=False,  # a plan teaches nothing
        ),
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, threads=1)
