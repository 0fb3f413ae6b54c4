"""Parallelised Q-network (Gallici et al. 2024): Q-learning without replay or target network.

    python -m recipes.pqn --env Acrobot-v1

DQN with many environments instead of a replay buffer, layer normalisation instead of a target
network, and PPO's epochs of minibatches on Q(lambda) targets. The defaults are those of Rejax's
CartPole configuration, with the rate annealed as in PureJaxQL, and learn CartPole-v1.
"""

from typing import Any, TypedDict, Unpack

import optax
from jaxtyping import ScalarLike

import lerax_fx as fx
from recipes.shell import main


class Settings(TypedDict, total=False):
    """What `make` passes on to `pqn`, where the defaults are."""

    num_epochs: int
    num_minibatches: int
    anneal: bool
    discount: ScalarLike
    lambda_: ScalarLike
    max_grad_norm: ScalarLike
    epsilon_start: ScalarLike
    epsilon_end: ScalarLike
    epsilon_steps: int


@fx.arguments.suggest_keywords
def pqn(
    env: Any,
    *,
    num_envs: int,
    num_steps: int,
    num_updates: int,
    learning_rate: ScalarLike,
    num_epochs: int = 5,
    num_minibatches: int = 16,
    anneal: bool = True,
    discount: ScalarLike = 0.99,
    lambda_: ScalarLike = 0.9,
    max_grad_norm: ScalarLike = 10.0,
    epsilon_start: ScalarLike = 1.0,
    epsilon_end: ScalarLike = 0.05,
    epsilon_steps: int = 250_000,
) -> fx.Transform[None, fx.data.Estimates]:
    """The algorithm, for discrete actions.

    With `anneal` the learning rate falls to 0 in `num_updates`; `epsilon_steps` counts
    environment steps.
    """
    epsilon = fx.schedule(optax.linear_schedule, epsilon_start, epsilon_end, epsilon_steps)
    gradient_steps = num_epochs * num_minibatches
    schedule = fx.anneal(learning_rate, num_updates=num_updates, steps_per_update=gradient_steps)
    optimizer = fx.optimizer(
        optax.chain,
        fx.optimizer(optax.clip_by_global_norm, max_grad_norm),
        fx.optimizer(optax.radam, schedule if anneal else learning_rate),
    )
    return fx.chain(
        fx.rollout(env, num_envs=num_envs, num_steps=num_steps, explore=fx.epsilon_greedy(epsilon)),
        fx.q_lambda_returns(discount=discount, lambda_=lambda_),
        fx.minibatch(
            fx.minimize(fx.q_loss(), optimizer),
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
    layer_norm: bool = True,
    total_steps: int = 500_000,
    num_envs: int = 16,
    num_steps: int = 128,
    learning_rate: ScalarLike = 3e-4,
    **settings: Unpack[Settings],
) -> tuple[fx.agents.ActorCritic, fx.loops.AnakinLoop]:
    """Make an agent for an environment, and the function that trains it.

    `env` is an id, a gymnax environment or an `fx.Env`, with discrete actions; `agent` one of
    your own, by default an `fx.q_agent`, with layer normalisation if `layer_norm`; `settings`
    are keywords of `pqn`. **Returns:** `(agent, train)`, with `train(agent, key) -> (agent,
    metrics)`; metrics hold one value per update.
    """
    env = fx.make(env)
    agent = fx.q_agent(env, key=key, layer_norm=layer_norm) if agent is None else agent
    num_updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=num_steps)
    algorithm = pqn(
        env,
        num_envs=num_envs,
        num_steps=num_steps,
        num_updates=num_updates,
        learning_rate=learning_rate,
        **settings,
    )
    return agent, fx.anakin_loop(algorithm, num_updates)


if __name__ == "__main__":
    main(make, pqn, threads=1)
