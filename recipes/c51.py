"""C51, deep Q-learning of distributions over fixed atoms (Bellemare et al. 2017).

    python -m recipes.c51 --no-double --low -100

DQN with other targets and another loss. The defaults are those of PureJaxRL's `dqn.py`, made
double, and learn CartPole-v1, whose discounted returns are between 0 and 100. Not double, one of
five seeds ended at 155.
"""

from typing import Any, TypedDict, Unpack

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from recipes.shell import main


class Settings(TypedDict, total=False):
    """What `make` passes on to `c51`, where the defaults are."""

    capacity: int
    batch_size: int
    discount: ScalarLike
    n: int
    double: bool
    target_period: int
    epsilon_start: ScalarLike
    epsilon_end: ScalarLike
    epsilon_steps: int


@fx.arguments.suggest_keywords
def c51(
    env: Any,
    *,
    num_envs: int,
    num_steps: int,
    warmup: int,
    learning_rate: ScalarLike,
    capacity: int = 10_000,
    batch_size: int = 128,
    discount: ScalarLike = 0.99,
    n: int = 1,
    double: bool = True,
    target_period: int = 50,
    epsilon_start: ScalarLike = 1.0,
    epsilon_end: ScalarLike = 0.05,
    epsilon_steps: int = 250_000,
) -> fx.Chain[None, fx.data.Rollout]:
    """The algorithm, for discrete actions.

    `target_period` counts gradient steps, `warmup` and `epsilon_steps` environment steps.
    """
    epsilon = fx.schedule(optax.linear_schedule, epsilon_start, epsilon_end, epsilon_steps)
    target = fx.distributional_td_target(
        discount=discount, n=n, double=double, update=fx.periodic(target_period)
    )
    optimizer = fx.optimizer(optax.adam, learning_rate)
    return fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps, explore=fx.epsilon_greedy(epsilon)),
        fx.replay(
            fx.chain(target, fx.minimize(fx.c51_loss(), optimizer)),
            capacity=capacity,
            batch_size=batch_size,
            warmup=warmup,
            length=n,
        ),
    )


@fx.arguments.suggest_keywords
def make(
    env: Any = "CartPole-v1",
    *,
    key: fx.typing.Key,
    agent: fx.agents.ActorCritic | None = None,
    num_atoms: int = 51,
    low: float = 0.0,
    high: float = 100.0,
    total_steps: int = 500_000,
    num_envs: int = 10,
    num_steps: int = 1,
    warmup: int = 10_000,
    learning_rate: ScalarLike = 2.5e-4,
    **settings: Unpack[Settings],
) -> tuple[fx.agents.ActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with discrete actions; `agent` one of
    your own, by default an `fx.categorical_q_agent`, with `num_atoms` between the bounds `low`
    and `high` of the discounted returns; `settings` are keywords of `c51`. **Returns:**
    `(agent, train)`, with `train(agent, key) -> (agent, metrics)`; metrics hold one value per
    update.
    """
    env = fx.make(env)
    if agent is None:
        agent = fx.categorical_q_agent(env, key=key, num_atoms=num_atoms, low=low, high=high)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    algorithm = c51(
        env,
        num_envs=num_envs,
        num_steps=num_steps,
        warmup=warmup,
        learning_rate=learning_rate,
        **settings,
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, c51, threads=1)
