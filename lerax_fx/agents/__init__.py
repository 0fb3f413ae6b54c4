"""Agents: networks, policies, and the actor-critics made of them."""

from lerax_fx.agents.activation import ACTIVATIONS, Activation
from lerax_fx.agents.actor_critic import AbstractActorCritic, ActorCritic
from lerax_fx.agents.constructors import (
    actor_critic,
    cnn_actor_critic,
    deterministic_actor_critic,
    gru_actor_critic,
    mlp_actor_critic,
    q_agent,
    soft_actor_critic,
)
from lerax_fx.agents.convolution import CNN, Convolution
from lerax_fx.agents.critics import Critics
from lerax_fx.agents.encoding import Encoding, image_encoding, vector_encoding
from lerax_fx.agents.feedforward import FeedforwardActorCritic
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

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "GRU",
    "MLP",
    "AbstractActorCritic",
    "AbstractPolicy",
    "ActionBounds",
    "Activation",
    "ActorCritic",
    "BernoulliPolicy",
    "CategoricalPolicy",
    "Convolution",
    "Critics",
    "DeterministicAction",
    "DeterministicPolicy",
    "Encoding",
    "FeedforwardActorCritic",
    "GaussianPolicy",
    "Linear",
    "MultiCategoricalPolicy",
    "QActorCritic",
    "QAgent",
    "RecurrentActorCritic",
    "SquashedGaussianPolicy",
    "SquashedNormal",
    "StateDependentGaussianPolicy",
    "action_bounds",
    "actor_critic",
    "cnn_actor_critic",
    "deterministic_actor_critic",
    "gru_actor_critic",
    "image_encoding",
    "mlp_actor_critic",
    "orthogonal",
    "policy_for",
    "q_agent",
    "soft_actor_critic",
    "vector_encoding",
]
