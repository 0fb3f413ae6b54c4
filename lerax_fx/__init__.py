"""Composable functional transforms for reinforcement learning in JAX.

An algorithm is a chain of small pure transforms, as an optimiser is in Optax:

    import jax, lerax_fx as fx, optax

    ppo = fx.chain(
        fx.rollout("CartPole-v1", num_envs=64, num_steps=128),
        fx.gae(discount=0.99, lambda_=0.95),
        fx.minibatch(
            fx.chain(
                fx.normalize_advantage(),
                fx.minimize(fx.ppo_loss(), fx.optimizer(optax.adam, 3e-4)),
            ),
            num_epochs=4,
            num_minibatches=4,
        ),
    )
    train = fx.anakin_loop(ppo, num_updates=60)
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from lerax_fx._typecheck import install_from_environment

# Before any other module of the package is imported: the hook sees only what comes after.
install_from_environment()

if TYPE_CHECKING:
    from lerax_fx import nde as nde
    from lerax_fx import planning as planning

from lerax_fx import (
    agents,
    arguments,
    data,
    envs,
    errors,
    loops,
    losses,
    saving,
    spaces,
    stages,
    typing,
)
from lerax_fx._core.chain import Chain, chain
from lerax_fx._core.describe import describe
from lerax_fx._core.hyperparameters import combine, named_hyperparameters, partition
from lerax_fx._core.lift import transform
from lerax_fx._core.schedules import Schedule, schedule
from lerax_fx._core.transform import Step, Transform, identity
from lerax_fx._core.wrapper import Wrapper, every, repeat
from lerax_fx._replay.sampling import prioritized, uniform
from lerax_fx._replay.stage import burn_in, replay
from lerax_fx.agents.actor_critics import actor_critic
from lerax_fx.agents.check import check_agent
from lerax_fx.agents.q_actor_critics import deterministic_actor_critic, soft_actor_critic
from lerax_fx.agents.q_agents import categorical_q_agent, q_agent, quantile_q_agent
from lerax_fx.envs.check import check_env
from lerax_fx.envs.env import Env
from lerax_fx.envs.registry import make
from lerax_fx.errors import (
    EnvironmentSetupError,
    HyperparameterError,
    LeraxError,
    SavingError,
    WiringError,
)
from lerax_fx.loops.anakin import anakin_loop, updates_in
from lerax_fx.loops.evaluation import evaluate
from lerax_fx.losses.base import loss_term
from lerax_fx.losses.on_policy import (
    clipped_surrogate,
    entropy,
    policy_gradient,
    ppo_loss,
    value_loss,
)
from lerax_fx.losses.q import c51_loss, q_loss, quantile_regression_loss
from lerax_fx.losses.sac_td3 import dpg_loss, q_critic_loss, sac_policy_loss, temperature_loss
from lerax_fx.saving import load, save
from lerax_fx.stages.batches import accumulate, dataset, minibatch
from lerax_fx.stages.estimators import (
    gae,
    n_step_returns,
    normalize_advantage,
    q_lambda_returns,
    recompute_values,
    vtrace,
)
from lerax_fx.stages.exploration import epsilon_greedy, gaussian_noise
from lerax_fx.stages.optimization import anneal, minimize, optimizer
from lerax_fx.stages.rollouts import lagged, rollout
from lerax_fx.stages.statistics import update_statistics
from lerax_fx.stages.target_networks import periodic, polyak
from lerax_fx.stages.targets import distributional_td_target, sac_target, td3_target, td_target

try:
    __version__ = version("lerax-fx")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0.0.0+unknown"

# What few programs need, and what takes a tenth of the import.
_IMPORTED_LATE = ("nde", "planning")


def __getattr__(name: str) -> Any:
    """Import `fx.nde` and `fx.planning` when they are asked for."""
    if name in _IMPORTED_LATE:
        return import_module(f"lerax_fx.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Chain",
    "Env",
    "EnvironmentSetupError",
    "HyperparameterError",
    "LeraxError",
    "SavingError",
    "Schedule",
    "Step",
    "Transform",
    "WiringError",
    "Wrapper",
    "accumulate",
    "actor_critic",
    "agents",
    "anakin_loop",
    "anneal",
    "arguments",
    "burn_in",
    "c51_loss",
    "categorical_q_agent",
    "chain",
    "check_agent",
    "check_env",
    "clipped_surrogate",
    "combine",
    "data",
    "dataset",
    "describe",
    "deterministic_actor_critic",
    "distributional_td_target",
    "dpg_loss",
    "entropy",
    "envs",
    "epsilon_greedy",
    "errors",
    "evaluate",
    "every",
    "gae",
    "gaussian_noise",
    "identity",
    "lagged",
    "load",
    "loops",
    "loss_term",
    "losses",
    "make",
    "minibatch",
    "minimize",
    "n_step_returns",
    "named_hyperparameters",
    "nde",
    "normalize_advantage",
    "optimizer",
    "partition",
    "periodic",
    "planning",
    "policy_gradient",
    "polyak",
    "ppo_loss",
    "prioritized",
    "q_agent",
    "q_critic_loss",
    "q_lambda_returns",
    "q_loss",
    "quantile_q_agent",
    "quantile_regression_loss",
    "recompute_values",
    "repeat",
    "replay",
    "rollout",
    "sac_policy_loss",
    "sac_target",
    "save",
    "saving",
    "schedule",
    "soft_actor_critic",
    "spaces",
    "stages",
    "td3_target",
    "td_target",
    "temperature_loss",
    "transform",
    "typing",
    "uniform",
    "update_statistics",
    "updates_in",
    "value_loss",
    "vtrace",
]
