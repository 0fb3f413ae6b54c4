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

from lerax_fx.agents import (
    AbstractActorCritic,
    actor_critic,
    categorical_q_agent,
    cnn_actor_critic,
    gru_actor_critic,
    mlp_actor_critic,
    q_agent,
    quantile_q_agent,
)
from lerax_fx.core.bounds import (
    Fraction,
    Interval,
    NonNegative,
    Positive,
    Real,
)
from lerax_fx.core.chain import (
    Chain,
    chain,
)
from lerax_fx.core.every import (
    every,
)
from lerax_fx.core.hyperparameters import (
    combine,
    named_hyperparameters,
    partition,
)
from lerax_fx.core.lift import (
    agent_transform,
    transform,
)
from lerax_fx.core.minibatch import (
    minibatch,
)
from lerax_fx.core.repeat import (
    repeat,
)
from lerax_fx.core.transform import (
    Inside,
    Step,
    Transform,
    identity,
)
from lerax_fx.data import (
    DistributionTargets,
    Estimates,
    Rollout,
    Targets,
    Timed,
    Transitions,
)
from lerax_fx.describe import (
    describe,
)
from lerax_fx.environments import (
    Box,
    ClipAction,
    Dict,
    Discrete,
    Env,
    FlattenObservation,
    IrregularTime,
    MultiBinary,
    MultiDiscrete,
    NormalizeObservation,
    NormalizeReward,
    RescaleAction,
    SelectObservation,
    Space,
    TimedSpace,
    TimeLimit,
    Timestep,
    Tuple,
    check_env,
    frozen,
    hide_velocities,
    make,
)
from lerax_fx.errors import (
    EnvironmentSetupError,
    HyperparameterError,
    LeraxError,
    WiringError,
)
from lerax_fx.estimators import (
    gae,
    n_step_returns,
    normalize_advantage,
    q_lambda_returns,
    vtrace,
)
from lerax_fx.exploration import (
    AbstractExploration,
    epsilon_greedy,
)
from lerax_fx.loops import (
    AnakinLoop,
    Evaluation,
    TrainState,
    anakin_loop,
    evaluate,
    rollout,
    updates_in,
)
from lerax_fx.losses import (
    Loss,
    PolicyEvaluation,
    categorical_loss,
    clipped_surrogate,
    entropy,
    evaluate_policy,
    loss_term,
    policy_gradient,
    ppo_loss,
    q_loss,
    quantile_loss,
    value_loss,
)
from lerax_fx.nde import (
    linear_cde_actor_critic,
)
from lerax_fx.optimization import (
    anneal,
    minimize,
)
from lerax_fx.replay import (
    replay,
)
from lerax_fx.targets import (
    distributional_td_target,
    periodic,
    polyak,
    td_target,
)
from lerax_fx.types import (
    Count,
    Flag,
    Key,
    Metrics,
    Scalar,
    Tree,
)

__all__ = [
    "AbstractActorCritic",
    "AbstractExploration",
    "AnakinLoop",
    "Box",
    "Chain",
    "ClipAction",
    "Count",
    "Dict",
    "Discrete",
    "DistributionTargets",
    "Env",
    "EnvironmentSetupError",
    "Estimates",
    "Evaluation",
    "Flag",
    "FlattenObservation",
    "Fraction",
    "HyperparameterError",
    "Inside",
    "Interval",
    "IrregularTime",
    "Key",
    "LeraxError",
    "Loss",
    "Metrics",
    "MultiBinary",
    "MultiDiscrete",
    "NonNegative",
    "NormalizeObservation",
    "NormalizeReward",
    "PolicyEvaluation",
    "Positive",
    "Real",
    "RescaleAction",
    "Rollout",
    "Scalar",
    "SelectObservation",
    "Space",
    "Step",
    "Targets",
    "TimeLimit",
    "Timed",
    "TimedSpace",
    "Timestep",
    "TrainState",
    "Transform",
    "Transitions",
    "Tree",
    "Tuple",
    "WiringError",
    "actor_critic",
    "agent_transform",
    "anakin_loop",
    "anneal",
    "categorical_loss",
    "categorical_q_agent",
    "chain",
    "check_env",
    "clipped_surrogate",
    "cnn_actor_critic",
    "combine",
    "describe",
    "distributional_td_target",
    "entropy",
    "epsilon_greedy",
    "evaluate",
    "evaluate_policy",
    "every",
    "frozen",
    "gae",
    "gru_actor_critic",
    "hide_velocities",
    "identity",
    "linear_cde_actor_critic",
    "loss_term",
    "make",
    "minibatch",
    "minimize",
    "mlp_actor_critic",
    "n_step_returns",
    "named_hyperparameters",
    "normalize_advantage",
    "partition",
    "periodic",
    "policy_gradient",
    "polyak",
    "ppo_loss",
    "q_agent",
    "q_lambda_returns",
    "q_loss",
    "quantile_loss",
    "quantile_q_agent",
    "repeat",
    "replay",
    "rollout",
    "td_target",
    "transform",
    "updates_in",
    "value_loss",
    "vtrace",
]
