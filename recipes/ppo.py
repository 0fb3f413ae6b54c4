"""Proximal policy optimisation (Schulman et al. 2017).

    python -m recipes.ppo --env Acrobot-v1

The defaults are those of PureJaxRL's `ppo.py`, and learn CartPole-v1.
"""

from typing import Any, TypedDict, Unpack

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from recipes.shell import main


class Settings(TypedDict, total=False):
    """What `make` passes on to `ppo`, where the defaults are."""

    num_epochs: int
    num_minibatches: int
    anneal: bool
    discount: ScalarLike
    lambda_: ScalarLike
    clip: ScalarLike
    value_weight: ScalarLike
    entropy_weight: ScalarLike
    max_grad_norm: ScalarLike


@fx.arguments.suggest_keywords
def ppo(
    env: Any,
    *,
    num_envs: int,
    num_steps: int,
    num_updates: int,
    learning_rate: ScalarLike,
    num_epochs: int = 4,
    num_minibatches: int = 4,
    anneal: bool = True,
    discount: ScalarLike = 0.99,
    lambda_: ScalarLike = 0.95,
    clip: ScalarLike = 0.2,
    value_weight: ScalarLike = 0.5,
    entropy_weight: ScalarLike = 0.01,
    max_grad_norm: ScalarLike = 0.5,
    normalize_reward: bool | None = None,
) -> fx.Transform[None, fx.data.Estimates]:
    """The algorithm.

    With `anneal` the learning rate falls to 0 in `num_updates`. `normalize_reward` is on by
    default where actions are continuous, as in PureJaxRL's `ppo_continuous_action.py`; returns
    are reported as they are either way.
    """
    env = fx.make(env)
    if normalize_reward is None:
        normalize_reward = isinstance(env.action_space, fx.spaces.Box)
    if normalize_reward:
        env = fx.envs.NormalizeReward(env, discount=discount)
    gradient_steps = num_epochs * num_minibatches
    schedule = fx.anneal(learning_rate, num_updates=num_updates, steps_per_update=gradient_steps)
    optimizer = fx.optimizer(
        optax.chain,
        fx.optimizer(optax.clip_by_global_norm, max_grad_norm),
        fx.optimizer(optax.adam, schedule if anneal else learning_rate, eps=1e-5),
    )
    loss = fx.ppo_loss(clip=clip, value_weight=value_weight, entropy_weight=entropy_weight)
    return fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps),
        fx.gae(discount=discount, lambda_=lambda_),
        fx.minibatch(
            fx.chain(fx.normalize_advantage(), fx.minimize(loss, optimizer)),
            num_epochs=num_epochs,
            num_minibatches=num_minibatches,
        ),
    )


@fx.arguments.suggest_keywords
def make(
    env: Any = "CartPole-v1",
    *,
    key: fx.typing.Key,
    agent: fx.agents.ActorCritic | None = None,
    total_steps: int = 500_000,
    num_envs: int = 4,
    num_steps: int = 128,
    learning_rate: ScalarLike = 2.5e-4,
    normalize_reward: bool | None = None,
    **settings: Unpack[Settings],
) -> tuple[fx.agents.ActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`; `agent` one of your own, by default an
    `fx.actor_critic`; `settings` are keywords of `ppo`. **Returns:** `(agent, train)`, with
    `train(agent, key) -> (agent, metrics)`; metrics hold one value per update.
    """
    env = fx.make(env)
    agent = fx.actor_critic(env, key=key) if agent is None else agent
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps)
    algorithm = ppo(
        env,
        num_envs=num_envs,
        num_steps=num_steps,
        num_updates=num_updates,
        learning_rate=learning_rate,
        normalize_reward=normalize_reward,
        **settings,
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, ppo)
