"""Proximal policy optimisation (Schulman et al. 2017).

    python -m recipes.ppo --env Acrobot-v1

The defaults are those of PureJaxRL's `ppo.py`, and learn CartPole-v1.
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
    num_envs: int = 4,
    num_steps: int = 128,
    num_epochs: int = 4,
    num_minibatches: int = 4,
    learning_rate: ScalarLike = 2.5e-4,
    anneal: bool = True,
    discount: ScalarLike = 0.99,
    lambda_: ScalarLike = 0.95,
    clip: ScalarLike = 0.2,
    value_weight: ScalarLike = 0.5,
    entropy_weight: ScalarLike = 0.01,
    max_grad_norm: ScalarLike = 0.5,
    normalize_reward: bool | None = None,
) -> tuple[fx.agents.AbstractActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`. **Returns:** `(agent, train)`,
    with `train(agent, key) -> (agent, metrics)`; metrics hold one value per update.
    `normalize_reward` is on by default where actions are real numbers, as in PureJaxRL's
    `ppo_continuous_action.py`; returns are reported as they are either way.
    """
    env = fx.make(env)
    agent = fx.actor_critic(env, key=key)
    continuous = isinstance(env.action_space, fx.spaces.Box)
    if continuous if normalize_reward is None else normalize_reward:
        env = fx.envs.NormalizeReward(env, discount=discount)
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps)
    schedule = fx.anneal(
        learning_rate, num_updates=num_updates, steps_per_update=num_epochs * num_minibatches
    )
    optimizer = fx.optimizer(
        optax.chain,
        fx.optimizer(optax.clip_by_global_norm, max_grad_norm),
        fx.optimizer(optax.adam, schedule if anneal else learning_rate, eps=1e-5),
    )
    loss = fx.ppo_loss(clip=clip, value_weight=value_weight, entropy_weight=entropy_weight)
    algorithm = fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps),
        fx.gae(discount=discount, lambda_=lambda_),
        fx.minibatch(
            fx.chain(fx.normalize_advantage(), fx.minimize(loss, optimizer)),
            num_epochs=num_epochs,
            num_minibatches=num_minibatches,
        ),
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make)
