"""Parallelised Q-network (Gallici et al. 2024): Q-learning without replay or target network.

    python -m recipes.pqn --env Acrobot-v1

DQN with many environments for a memory, layer normalisation for a target network, and PPO's
epochs of minibatches on Q(lambda) targets. The defaults are those of Rejax's CartPole
configuration, with the rate annealed as in PureJaxQL, and learn CartPole-v1.
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
    num_envs: int = 16,
    num_steps: int = 128,
    num_epochs: int = 5,
    num_minibatches: int = 16,
    learning_rate: ScalarLike = 3e-4,
    anneal: bool = True,
    discount: ScalarLike = 0.99,
    lambda_: ScalarLike = 0.9,
    max_grad_norm: ScalarLike = 10.0,
    layer_norm: bool = True,
    epsilon_start: ScalarLike = 1.0,
    epsilon_end: ScalarLike = 0.05,
    epsilon_steps: int = 250_000,
) -> tuple[fx.agents.AbstractActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with discrete actions. **Returns:**
    `(agent, train)`, with `train(agent, key) -> (agent, metrics)`; metrics hold one value
    per update. `epsilon_steps` counts environment steps.
    """
    env = fx.make(env)
    agent = fx.q_agent(env, key=key, layer_norm=layer_norm)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps)
    epsilon = fx.schedule(optax.linear_schedule, epsilon_start, epsilon_end, epsilon_steps)
    schedule = fx.anneal(
        learning_rate, num_updates=num_updates, steps_per_update=num_epochs * num_minibatches
    )
    optimizer = fx.optimizer(
        optax.chain,
        fx.optimizer(optax.clip_by_global_norm, max_grad_norm),
        fx.optimizer(optax.radam, schedule if anneal else learning_rate),
    )
    algorithm = fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps, explore=fx.epsilon_greedy(epsilon)),
        fx.q_lambda_returns(discount=discount, lambda_=lambda_),
        fx.minibatch(
            fx.minimize(fx.q_loss(), optimizer),
            num_epochs=num_epochs,
            num_minibatches=num_minibatches,
        ),
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, threads=1)
