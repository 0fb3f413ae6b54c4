"""Advantage actor-critic (Mnih et al. 2016), synchronous.

    python -m recipes.a2c --env Acrobot-v1

PPO with three stages swapped: whole returns instead of GAE, the plain policy gradient
instead of the clipped surrogate, and one gradient step on the whole batch instead of
minibatches.
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
    num_envs: int = 8,
    num_steps: int = 8,
    learning_rate: ScalarLike = 3e-3,
    anneal: bool = True,
    discount: ScalarLike = 0.99,
    value_weight: ScalarLike = 0.5,
    entropy_weight: ScalarLike = 0.01,
    max_grad_norm: ScalarLike = 0.5,
) -> tuple[fx.agents.AbstractActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`. **Returns:** `(agent, train)`,
    with `train(agent, key) -> (agent, metrics)`; metrics hold one value per update.
    """
    env = fx.make(env)
    agent = fx.actor_critic(env, key=key)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps)
    schedule = fx.anneal(learning_rate, num_updates=num_updates)
    optimizer = fx.optimizer(
        optax.chain,
        fx.optimizer(optax.clip_by_global_norm, max_grad_norm),
        fx.optimizer(optax.adam, schedule if anneal else learning_rate, eps=1e-5),
    )
    loss = fx.policy_gradient() + value_weight * fx.value_loss() - entropy_weight * fx.entropy()
    algorithm = fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps),
        fx.n_step_returns(n=num_steps, discount=discount),
        fx.minimize(loss, optimizer),
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, threads=1)
