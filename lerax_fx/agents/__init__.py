"""Agents: networks, policies, and the actor-critics made of them."""

from lerax_fx.agents.activation import ACTIVATIONS, Activation
from lerax_fx.agents.actor_critic import AbstractActorCritic, ActorCritic
from lerax_fx.agents.constructors import (
    actor_critic,
    categorical_q_agent,
    cnn_actor_critic,
    deterministic_actor_critic,
    gru_actor_critic,
    mlp_actor_critic,
    q_agent,
    quantile_q_agent,
    soft_actor_critic,
)
from lerax_fx.agents.convolution import CNN, Convolution
from lerax_fx.agents.critics import Critics
from lerax_fx.agents.discrete_q_actor_critic import DiscreteQActorCritic
from lerax_fx.agents.distributional_q_agent import DistributionalQAgent
from lerax_fx.agents.encoding import Encoding, image_encoding, vector_encoding
from lerax_fx.agents.feedforward import FeedforwardActorCritic
from lerax_fx.agents.greedy import AbstractQAgent
from lerax_fx.agents.linear import Linear, orthogonal
from lerax_fx.agents.mlp import MLP
from lerax_fx.agents.policies import (
    AbstractPolicy,
    ActionBounds,
    BernoulliPolicy,
    CategoricalPolicy,
    DeterministicAction,
    DeterministicPolicy,
    GaussianPolicy,
    MultiCategoricalPolicy,
    SquashedGaussianPolicy,
    SquashedNormal,
    StateDependentGaussianPolicy,
    action_bounds,
    policy_for,
)
from lerax_fx.agents.q_actor_critic import QActorCritic
from lerax_fx.agents.q_agent import QAgent
from lerax_fx.agents.recurrent import GRU
from lerax_fx.agents.recurrent_actor_critic import RecurrentActorCritic
from lerax_fx.agents.returns import CategoricalReturns, QuantileReturns

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "GRU",
    "MLP",
    "AbstractActorCritic",
    "AbstractPolicy",
    "AbstractQAgent",
    "ActionBounds",
    "Activation",
    "ActorCritic",
    "BernoulliPolicy",
    "CategoricalPolicy",
    "CategoricalReturns",
    "Convolution",
    "Critics",
    "DeterministicAction",
    "DeterministicPolicy",
    "DiscreteQActorCritic",
    "DistributionalQAgent",
    "Encoding",
    "FeedforwardActorCritic",
    "GaussianPolicy",
    "Linear",
    "MultiCategoricalPolicy",
    "QActorCritic",
    "QAgent",
    "QuantileReturns",
    "RecurrentActorCritic",
    "SquashedGaussianPolicy",
    "SquashedNormal",
    "StateDependentGaussianPolicy",
    "action_bounds",
    "actor_critic",
    "categorical_q_agent",
    "cnn_actor_critic",
    "deterministic_actor_critic",
    "gru_actor_critic",
    "image_encoding",
    "mlp_actor_critic",
    "orthogonal",
    "policy_for",
    "q_agent",
    "quantile_q_agent",
    "soft_actor_critic",
    "vector_encoding",
]
