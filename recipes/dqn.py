"""Deep Q-learning (Mnih et al. 2015), double and dueling if asked for.

    python -m recipes.dqn --double --dueling

The defaults are those of PureJaxRL's `dqn.py`, and learn CartPole-v1.
"""

from typing import Any

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from lerax_fx._core.arguments import suggest_keywords
from recipes.shell import main


@suggest_keywords
def make(
    env: Any = "CartPole-v1",
    *,
    key: fx.typing.Key,
    total_steps: int = 500_000,
    num_envs: int = 10,
    num_steps: int = 1,
    capacity: int = 10_000,
    batch_size: int = 128,
    warmup: int = 10_000,
    learning_rate: ScalarLike = 2.5e-4,
    discount: ScalarLike = 0.99,
    n: int = 1,
    double: bool = False,
    dueling: bool = False,
    prioritized: bool = False,
    target_period: int = 50,
    epsilon_start: ScalarLike = 1.0,
    epsilon_end: ScalarLike = 0.05,
    epsilon_steps: int = 250_000,
) -> tuple[fx.agents.AbstractActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with discrete actions. **Returns:**
    `(agent, train)`, with `train(agent, key) -> (agent, metrics)`; metrics hold one value
    per update. `target_period` counts gradient steps, `epsilon_steps` environment steps.
    `prioritized` replays as Schaul et al. 2016 do, with weights that in the end correct for it
    in full; it wants a lower learning rate, by theirs a quarter.
    """
    env = fx.make(env)
    agent = fx.q_agent(env, key=key, dueling=dueling)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps, warmup=warmup)
    epsilon = fx.schedule(optax.linear_schedule, epsilon_start, epsilon_end, epsilon_steps)
    target = fx.td_target(discount=discount, n=n, double=double, update=fx.periodic(target_period))
    optimizer = fx.optimizer(optax.adam, learning_rate)
    importance = fx.schedule(optax.linear_schedule, 0.4, 1.0, total_steps)
    sampling = fx.prioritized(importance=importance) if prioritized else fx.uniform()
    algorithm = fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps, explore=fx.epsilon_greedy(epsilon)),
        fx.replay(
            fx.chain(target, fx.minimize(fx.q_loss(), optimizer)),
            capacity=capacity,
            batch_size=batch_size,
            warmup=warmup,
            length=n,
            sampling=sampling,
        ),
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, threads=1)
