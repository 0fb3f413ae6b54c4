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

from lerax_fx._core.bounds import (
    Fraction,
    Interval,
    NonNegative,
    Positive,
    Real,
)
from lerax_fx._core.chain import (
    Chain,
    chain,
)
from lerax_fx._core.describe import (
    describe,
)
from lerax_fx._core.hyperparameters import (
    combine,
    named_hyperparameters,
    partition,
)
from lerax_fx._core.lift import (
    transform,
)
from lerax_fx._core.schedules import (
    Schedule,
    schedule,
)
from lerax_fx._core.transform import (
    Step,
    Transform,
    identity,
)
from lerax_fx._core.with_keys import (
    with_keys,
)
from lerax_fx._core.wrapper import (
    Wrapper,
    every,
    repeat,
)
from lerax_fx.agents import (
    AbstractActorCritic,
    actor_critic,
    categorical_q_agent,
    cnn_actor_critic,
    deterministic_actor_critic,
    gru_actor_critic,
    gru_q_agent,
    mlp_actor_critic,
    packed,
    q_agent,
    quantile_q_agent,
    soft_actor_critic,
)
from lerax_fx.data import (
    DistributionTargets,
    Estimates,
    KeyedTargets,
    Rollout,
    Targets,
    Timed,
    Transitions,
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
    SavingError,
    WiringError,
)
from lerax_fx.estimators import (
    gae,
    n_step_returns,
    normalize_advantage,
    q_lambda_returns,
    recompute_values,
    vtrace,
)
from lerax_fx.exploration import (
    AbstractExploration,
    epsilon_greedy,
    gaussian_noise,
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
    critic_loss,
    deterministic_policy_loss,
    dynamics_loss,
    entropy,
    evaluate_policy,
    loss_term,
    policy_gradient,
    ppo_loss,
    q_loss,
    quantile_loss,
    soft_policy_loss,
    temperature_loss,
    value_loss,
)
from lerax_fx.nde import (
    CDE,
    ODE,
    SDE,
    Dynamics,
    Intervals,
    NDESolution,
    cde_actor_critic,
    linear_cde_actor_critic,
    nde_solve,
    ode_actor_critic,
)
from lerax_fx.optimization import (
    anneal,
    minimize,
    optimizer,
)
from lerax_fx.optimization.minibatch import (
    minibatch,
)
from lerax_fx.planning import (
    Gaussian,
    PlanningAgent,
    cem,
    planning_agent,
)
from lerax_fx.replay import (
    AbstractSampling,
    burn_in,
    prioritized,
    replay,
    uniform,
)
from lerax_fx.saving import (
    load,
    save,
)
from lerax_fx.targets import (
    deterministic_target,
    distributional_td_target,
    periodic,
    polyak,
    soft_target,
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
    "CDE",
    "ODE",
    "SDE",
    "AbstractActorCritic",
    "AbstractExploration",
    "AbstractSampling",
    "AnakinLoop",
    "Box",
    "Chain",
    "ClipAction",
    "Count",
    "Dict",
    "Discrete",
    "DistributionTargets",
    "Dynamics",
    "Env",
    "EnvironmentSetupError",
    "Estimates",
    "Evaluation",
    "Flag",
    "FlattenObservation",
    "Fraction",
    "Gaussian",
    "HyperparameterError",
    "Interval",
    "Intervals",
    "IrregularTime",
    "Key",
    "KeyedTargets",
    "LeraxError",
    "Loss",
    "Metrics",
    "MultiBinary",
    "MultiDiscrete",
    "NDESolution",
    "NonNegative",
    "NormalizeObservation",
    "NormalizeReward",
    "PlanningAgent",
    "PolicyEvaluation",
    "Positive",
    "Real",
    "RescaleAction",
    "Rollout",
    "SavingError",
    "Scalar",
    "Schedule",
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
    "Wrapper",
    "actor_critic",
    "anakin_loop",
    "anneal",
    "burn_in",
    "categorical_loss",
    "categorical_q_agent",
    "cde_actor_critic",
    "cem",
    "chain",
    "check_env",
    "clipped_surrogate",
    "cnn_actor_critic",
    "combine",
    "critic_loss",
    "describe",
    "deterministic_actor_critic",
    "deterministic_policy_loss",
    "deterministic_target",
    "distributional_td_target",
    "dynamics_loss",
    "entropy",
    "epsilon_greedy",
    "evaluate",
    "evaluate_policy",
    "every",
    "frozen",
    "gae",
    "gaussian_noise",
    "gru_actor_critic",
    "gru_q_agent",
    "hide_velocities",
    "identity",
    "linear_cde_actor_critic",
    "load",
    "loss_term",
    "make",
    "minibatch",
    "minimize",
    "mlp_actor_critic",
    "n_step_returns",
    "named_hyperparameters",
    "nde_solve",
    "normalize_advantage",
    "ode_actor_critic",
    "optimizer",
    "packed",
    "partition",
    "periodic",
    "planning_agent",
    "policy_gradient",
    "polyak",
    "ppo_loss",
    "prioritized",
    "q_agent",
    "q_lambda_returns",
    "q_loss",
    "quantile_loss",
    "quantile_q_agent",
    "recompute_values",
    "repeat",
    "replay",
    "rollout",
    "save",
    "schedule",
    "soft_actor_critic",
    "soft_policy_loss",
    "soft_target",
    "td_target",
    "temperature_loss",
    "transform",
    "uniform",
    "updates_in",
    "value_loss",
    "vtrace",
    "with_keys",
]
