"""TD3: twin critics, target policy smoothing, delayed updates (Fujimoto et al. 2018).

    python -m recipes.td3 --env Pendulum-v1

The defaults learn Pendulum-v1.
"""

from typing import Any, TypedDict, Unpack

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from recipes.shell import main


class Shared(TypedDict, total=False):
    """What DDPG has as well."""

    capacity: int
    batch_size: int
    actor_rate: ScalarLike
    critic_rate: ScalarLike
    discount: ScalarLike
    n: int
    noise: ScalarLike
    target_step_size: ScalarLike


class Settings(Shared, total=False):
    """What `make` passes on to `td3`, where the defaults are."""

    target_noise: ScalarLike | None
    target_noise_clip: ScalarLike
    delay: int


@fx.arguments.suggest_keywords
def td3(
    env: Any,
    *,
    num_envs: int,
    num_steps: int,
    warmup: int,
    capacity: int = 50_000,
    batch_size: int = 128,
    actor_rate: ScalarLike = 1e-3,
    critic_rate: ScalarLike = 1e-3,
    discount: ScalarLike = 0.99,
    n: int = 1,
    noise: ScalarLike = 0.1,
    target_noise: ScalarLike | None = 0.2,
    target_noise_clip: ScalarLike = 0.5,
    target_step_size: ScalarLike = 0.005,
    delay: int = 2,
) -> fx.Transform[None, fx.data.Rollout]:
    """The algorithm, for continuous actions between finite bounds.

    `noise` for exploration and `target_noise` (`None` for none) are in units of half the width
    between the bounds; the actor and the targets are updated in every `delay`-th gradient step.
    """
    target = fx.td3_target(
        discount=discount,
        n=n,
        noise=target_noise,
        clip=target_noise_clip,
        update=fx.polyak(target_step_size, period=delay),
    )
    critic = fx.minimize(fx.q_critic_loss(), fx.optimizer(optax.adam, critic_rate), part="critic")
    actor = fx.minimize(fx.dpg_loss(), fx.optimizer(optax.adam, actor_rate), part="actor")
    learn = fx.chain(target, fx.chain(critic=critic), fx.every(delay, fx.chain(actor=actor)))
    return fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps, explore=fx.gaussian_noise(noise)),
        fx.replay(learn, capacity=capacity, batch_size=batch_size, warmup=warmup, length=n),
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
    **settings: Unpack[Settings],
) -> tuple[fx.agents.ContinuousQ, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with continuous actions between finite
    bounds; `agent` one of your own, by default an `fx.deterministic_actor_critic` with two
    hidden layers of `width`; `settings` are keywords of `td3`. **Returns:** `(agent, train)`,
    with `train(agent, key) -> (agent, metrics)`; metrics hold one value per update.
    """
    env = fx.make(env)
    if agent is None:
        agent = fx.deterministic_actor_critic(env, key=key, widths=(width, width))
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    algorithm = td3(env, num_envs=num_envs, num_steps=num_steps, warmup=warmup, **settings)
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, td3, threads=1)
