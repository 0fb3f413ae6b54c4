"""Composable functional transforms for reinforcement learning in JAX.

An algorithm is a chain of small pure transforms, as an optimiser is in Optax:

    import jax, lerax_fx as fx, optax

    ppo = fx.chain(
        fx.rollout("CartPole-v1", num_envs=64, num_steps=128),
        fx.gae(discount=0.99, lambda_=0.95),
        fx.minibatch(
            fx.chain(fx.normalize_advantage(), fx.minimize(fx.ppo_loss(), optax.adam(3e-4))),
            num_epochs=4,
            num_minibatches=4,
        ),
    )
    train = fx.anakin_loop(ppo, num_updates=60)
"""

from lerax_fx._typecheck import install_from_environment

# Before any other module of the package is imported: the hook sees only what comes after.
install_from_environment()

from lerax_fx.agents import (  # noqa: E402 -- see above
    AbstractActorCritic,
    actor_critic,
    cnn_actor_critic,
    gru_actor_critic,
    mlp_actor_critic,
)
from lerax_fx.core.bounds import (  # noqa: E402
    Fraction,
    Interval,
    NonNegative,
    Positive,
    Real,
)
from lerax_fx.core.chain import Chain, chain  # noqa: E402
from lerax_fx.core.every import every  # noqa: E402
from lerax_fx.core.hyperparameters import combine, named_hyperparameters, partition  # noqa: E402
from lerax_fx.core.lift import agent_transform, transform  # noqa: E402
from lerax_fx.core.minibatch import minibatch  # noqa: E402
from lerax_fx.core.repeat import repeat  # noqa: E402
from lerax_fx.core.transform import Step, Transform, identity  # noqa: E402
from lerax_fx.data import Estimates, Rollout  # noqa: E402
from lerax_fx.describe import describe  # noqa: E402
from lerax_fx.environments import (  # noqa: E402
    Env,
    Timestep,
    make,
)
from lerax_fx.errors import (  # noqa: E402
    EnvironmentSetupError,
    HyperparameterError,
    LeraxError,
    WiringError,
)
from lerax_fx.estimators import (  # noqa: E402
    gae,
    n_step_returns,
    normalize_advantage,
    vtrace,
)
from lerax_fx.loops import (  # noqa: E402
    AnakinLoop,
    Evaluation,
    TrainState,
    anakin_loop,
    evaluate,
    rollout,
    updates_in,
)
from lerax_fx.losses import (  # noqa: E402
    Loss,
    PolicyEvaluation,
    clipped_surrogate,
    entropy,
    evaluate_policy,
    loss_term,
    policy_gradient,
    ppo_loss,
    value_loss,
)
from lerax_fx.optimization import anneal, minimize  # noqa: E402
from lerax_fx.types import Key, Metrics  # noqa: E402
