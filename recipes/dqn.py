"""Deep Q-learning (Mnih et al. 2015), double (van Hasselt et al. 2016), and dueling if asked for.

    python -m recipes.dqn --dueling --n 3

Sizes and exploration are those of PureJaxRL's `dqn.py`. By default the network has layer
normalisation (Gallici et al. 2024), and the learning rate starts at twice PureJaxRL's and falls to
0 over the run: with these, all of 16 seeds that they were not chosen on reach 500 on CartPole-v1.
`--learning-rate 2.5e-4 --no-anneal --no-double --no-layer-norm` is PureJaxRL's algorithm.
"""

from typing import Any, TypedDict, Unpack

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from recipes.shell import main


class Settings(TypedDict, total=False):
    """What `make` passes on to `dqn`, where the defaults are."""

    capacity: int
    batch_size: int
    anneal: bool
    discount: ScalarLike
    n: int
    double: bool
    prioritized: bool
    target_period: int
    epsilon_start: ScalarLike
    epsilon_end: ScalarLike
    epsilon_steps: int


@fx.arguments.suggest_keywords
def dqn(
    env: Any,
    *,
    num_envs: int,
    num_steps: int,
    num_updates: int,
    warmup: int,
    learning_rate: ScalarLike,
    capacity: int = 10_000,
    batch_size: int = 128,
    anneal: bool = True,
    discount: ScalarLike = 0.99,
    n: int = 1,
    double: bool = True,
    prioritized: bool = False,
    target_period: int = 50,
    epsilon_start: ScalarLike = 1.0,
    epsilon_end: ScalarLike = 0.05,
    epsilon_steps: int = 250_000,
) -> fx.Transform[None, fx.data.Rollout]:
    """The algorithm, for discrete actions.

    With `anneal` the learning rate falls to 0 in `num_updates`. `target_period` counts gradient
    steps, `warmup` and `epsilon_steps` environment steps.
    `prioritized` replays as Schaul et al. 2016 do, with weights that after `num_updates` correct
    for it in full; it wants a lower learning rate, by theirs a quarter.
    """
    epsilon = fx.schedule(optax.linear_schedule, epsilon_start, epsilon_end, epsilon_steps)
    steps = num_updates * num_envs * num_steps
    importance = fx.schedule(optax.linear_schedule, 0.4, 1.0, steps)
    target = fx.td_target(discount=discount, n=n, double=double, update=fx.periodic(target_period))
    schedule = fx.anneal(learning_rate, num_updates=num_updates)
    optimizer = fx.optimizer(optax.adam, schedule if anneal else learning_rate)
    return fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps, explore=fx.epsilon_greedy(epsilon)),
        fx.replay(
            fx.chain(target, fx.minimize(fx.q_loss(), optimizer)),
            capacity=capacity,
            batch_size=batch_size,
            warmup=warmup,
            length=n,
            sampling=fx.prioritized(importance=importance) if prioritized else fx.uniform(),
        ),
    )


@fx.arguments.suggest_keywords
def make(
    env: Any = "CartPole-v1",
    *,
    key: fx.typing.Key,
    agent: fx.agents.ActorCritic | None = None,
    dueling: bool = False,
    layer_norm: bool = True,
    total_steps: int = 500_000,
    num_envs: int = 10,
    num_steps: int = 1,
    warmup: int = 10_000,
    learning_rate: ScalarLike = 5e-4,
    **settings: Unpack[Settings],
) -> tuple[fx.agents.ActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with discrete actions; `agent` one of
    your own, by default an `fx.q_agent` with `dueling` and `layer_norm`; `settings` are keywords of
    `dqn`. **Returns:** `(agent, train)`, with `train(agent, key) -> (agent, metrics)`; metrics hold
    one value per update.
    """
    env = fx.make(env)
    if agent is None:
        agent = fx.q_agent(env, key=key, dueling=dueling, layer_norm=layer_norm)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    algorithm = dqn(
        env,
        num_envs=num_envs,
        num_steps=num_steps,
        num_updates=num_updates,
        warmup=warmup,
        learning_rate=learning_rate,
        **settings,
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, dqn, threads=1)
