"""Agents that fit an environment."""

from lerax_fx.agents.constructors.actor_critics import (
    actor_critic,
    cnn_actor_critic,
    gru_actor_critic,
    mlp_actor_critic,
)
from lerax_fx.agents.constructors.q_actor_critics import (
    deterministic_actor_critic,
    soft_actor_critic,
)
from lerax_fx.agents.constructors.q_agents import (
    categorical_q_agent,
    gru_q_agent,
    q_agent,
    quantile_q_agent,
)

__all__ = [
    "actor_critic",
    "categorical_q_agent",
    "cnn_actor_critic",
    "deterministic_actor_critic",
    "gru_actor_critic",
    "gru_q_agent",
    "mlp_actor_critic",
    "q_agent",
    "quantile_q_agent",
    "soft_actor_critic",
]
