"""Advantage actor-critic (Mnih et al. 2016), synchronous.

    python -m recipes.a2c --env Acrobot-v1

PPO with three stages swapped: whole returns instead of GAE, the plain policy gradient
instead of the clipped surrogate, and one gradient step on the whole batch instead of
minibatches.
"""

from typing import Any, TypedDict, Unpack

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from recipes.shell import main


class Settings(TypedDict, total=False):
    """What `make` passes on to `a2c`, where the defaults are."""

    anneal: bool
    discount: ScalarLike
    value_weight: ScalarLike
    entropy_weight: ScalarLike
    max_grad_norm: ScalarLike


@fx.arguments.suggest_keywords
def a2c(
    env: Any,
    *,
    num_envs: int,
    num_steps: int,
    num_updates: int,
    learning_rate: ScalarLike,
    anneal: bool = True,
    discount: ScalarLike = 0.99,
    value_weight: ScalarLike = 0.5,
    entropy_weight: ScalarLike = 0.01,
    max_grad_norm: ScalarLike = 0.5,
) -> fx.Transform[None, fx.data.Estimates]:
    """The algorithm. With `anneal` the learning rate falls to 0 in `num_updates`."""
    schedule = fx.anneal(learning_rate, num_updates=num_updates)
    optimizer = fx.optimizer(
        optax.chain,
        fx.optimizer(optax.clip_by_global_norm, max_grad_norm),
        fx.optimizer(optax.adam, schedule if anneal else learning_rate, eps=1e-5),
    )
    loss = fx.policy_gradient() + value_weight * fx.value_loss() - entropy_weight * fx.entropy()
    return fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps),
        fx.n_step_returns(n=num_steps, discount=discount),
        fx.minimize(loss, optimizer),
    )


@fx.arguments.suggest_keywords
def make(
    env: Any = "CartPole-v1",
    *,
    key: fx.typing.Key,
    agent: fx.agents.ActorCritic | None = None,
    total_steps: int = 500_000,
    num_envs: int = 8,
    num_steps: int = 8,
    learning_rate: ScalarLike = 3e-3,
    **settings: Unpack[Settings],
) -> tuple[fx.agents.ActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`; `agent` one of your own, by default an
    `fx.actor_critic`; `settings` are keywords of `a2c`. **Returns:** `(agent, train)`, with
    `train(agent, key) -> (agent, metrics)`; metrics hold one value per update.
    """
    env = fx.make(env)
    agent = fx.actor_critic(env, key=key) if agent is None else agent
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps)
    algorithm = a2c(
        env,
        num_envs=num_envs,
        num_steps=num_steps,
        num_updates=num_updates,
        learning_rate=learning_rate,
        **settings,
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, a2c, threads=1)
