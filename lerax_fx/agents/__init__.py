"""Agents: networks, policies, and the actor-critics made of them."""

from lerax_fx.agents.activation import ACTIVATIONS, Activation
from lerax_fx.agents.actor_critic import AbstractActorCritic, AbstractFeedforward
from lerax_fx.agents.constructors import (
    actor_critic,
    categorical_q_agent,
    cnn_actor_critic,
    deterministic_actor_critic,
    gru_actor_critic,
    gru_q_agent,
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
from lerax_fx.agents.linear import Linear, orthogonal
from lerax_fx.agents.mlp import MLP
from lerax_fx.agents.output import DistributionalQOutput, Output, QOutput, greedy_output
from lerax_fx.agents.packed import Packed, packed
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
from lerax_fx.agents.protocols import (
    ActorCritic,
    ContinuousQ,
    DiscreteQ,
    DistributionalQNetwork,
    HasModel,
    HasTemperature,
    QNetwork,
    check_agent_family,
)
from lerax_fx.agents.q_actor_critic import QActorCritic
from lerax_fx.agents.q_agent import QAgent
from lerax_fx.agents.recurrent import GRU
from lerax_fx.agents.recurrent_actor_critic import RecurrentActorCritic
from lerax_fx.agents.recurrent_q_agent import RecurrentQAgent
from lerax_fx.agents.returns import CategoricalReturns, QuantileReturns

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "GRU",
    "MLP",
    "AbstractActorCritic",
    "AbstractFeedforward",
    "AbstractPolicy",
    "ActionBounds",
    "Activation",
    "ActorCritic",
    "BernoulliPolicy",
    "CategoricalPolicy",
    "CategoricalReturns",
    "ContinuousQ",
    "Convolution",
    "Critics",
    "DeterministicAction",
    "DeterministicPolicy",
    "DiscreteQ",
    "DiscreteQActorCritic",
    "DistributionalQAgent",
    "DistributionalQNetwork",
    "DistributionalQOutput",
    "Encoding",
    "FeedforwardActorCritic",
    "GaussianPolicy",
    "HasModel",
    "HasTemperature",
    "Linear",
    "MultiCategoricalPolicy",
    "Output",
    "Packed",
    "QActorCritic",
    "QAgent",
    "QNetwork",
    "QOutput",
    "QuantileReturns",
    "RecurrentActorCritic",
    "RecurrentQAgent",
    "SquashedGaussianPolicy",
    "SquashedNormal",
    "StateDependentGaussianPolicy",
    "action_bounds",
    "actor_critic",
    "categorical_q_agent",
    "check_agent_family",
    "cnn_actor_critic",
    "deterministic_actor_critic",
    "greedy_output",
    "gru_actor_critic",
    "gru_q_agent",
    "image_encoding",
    "mlp_actor_critic",
    "orthogonal",
    "packed",
    "policy_for",
    "q_agent",
    "quantile_q_agent",
    "soft_actor_critic",
    "vector_encoding",
]
