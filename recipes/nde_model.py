"""Planning on a learnt model in continuous time (Du et al. 2020; Yildiz et al. 2021): the
model is a neural ordinary differential equation, the planner the cross-entropy method.

    python -m recipes.nde_model --env Pendulum-v1

The defaults learn Pendulum-v1 from 2,000 steps.
"""

from typing import Any, TypedDict, Unpack

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from recipes.shell import main


class Settings(TypedDict, total=False):
    """What `make` passes on to `nde_model`, where the defaults are."""

    capacity: int
    batch_size: int
    updates_per_step: int
    window: int
    learning_rate: ScalarLike
    noise_start: ScalarLike
    noise_end: ScalarLike
    noise_steps: int


@fx.arguments.suggest_keywords
def nde_model(
    env: Any,
    *,
    num_envs: int,
    num_steps: int,
    warmup: int,
    capacity: int = 100_000,
    batch_size: int = 128,
    updates_per_step: int = 16,
    window: int = 4,
    learning_rate: ScalarLike = 3e-3,
    noise_start: ScalarLike = 1.0,
    noise_end: ScalarLike = 0.1,
    noise_steps: int = 1_000,
) -> fx.Transform[None, fx.data.Rollout]:
    """The algorithm, for continuous actions between finite bounds.

    There are `updates_per_step` gradient steps in each update; `window` is how many steps the
    model predicts in a row while it learns; the noise is in units of half the width between an
    action's bounds, and falls over `noise_steps` environment steps.
    """
    noise = fx.schedule(optax.linear_schedule, noise_start, noise_end, noise_steps)
    optimizer = fx.optimizer(optax.adam, learning_rate)
    return fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps, explore=fx.gaussian_noise(noise)),
        fx.replay(
            fx.minimize(fx.losses.dynamics_loss(), optimizer, part="model"),
            capacity=capacity,
            batch_size=batch_size,
            warmup=warmup,
            updates_per_step=updates_per_step,
            length=window,
            memory=False,  # the plan at the time teaches nothing
        ),
    )


@fx.arguments.suggest_keywords
def make(
    env: Any = "Pendulum-v1",
    *,
    key: fx.typing.Key,
    agent: fx.agents.ActorCritic | None = None,
    width: int = 32,
    latent: int | None = None,
    termination: bool = False,
    horizon: int = 20,
    num_samples: int = 32,
    num_elites: int = 4,
    num_iterations: int = 3,
    discount: float = 0.99,
    total_steps: int = 2_000,
    num_envs: int = 4,
    num_steps: int = 1,
    warmup: int = 128,
    **settings: Unpack[Settings],
) -> tuple[fx.agents.ActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, whose observations are a `Box` and whose
    actions are continuous, between finite bounds; `agent` one of your own, by default an
    `fx.planning.planning_agent`, of which the arguments from `width` to `discount` are;
    `settings` are keywords of `nde_model`. **Returns:** `(agent, train)`, with
    `train(agent, key) -> (agent, metrics)`; metrics hold one value per update.
    """
    env = fx.make(env)
    if agent is None:
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
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    algorithm = nde_model(env, num_envs=num_envs, num_steps=num_steps, warmup=warmup, **settings)
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, nde_model, threads=1)
