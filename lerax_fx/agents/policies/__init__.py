"""Policies: from the output of a network to a distribution over actions."""

from lerax_fx.agents.policies.action_bounds import ActionBounds, action_bounds
from lerax_fx.agents.policies.bernoulli import BernoulliPolicy
from lerax_fx.agents.policies.categorical import CategoricalPolicy, MultiCategoricalPolicy
from lerax_fx.agents.policies.choose import policy_for
from lerax_fx.agents.policies.deterministic import DeterministicAction, DeterministicPolicy
from lerax_fx.agents.policies.gaussian import (
    GaussianPolicy,
    SquashedGaussianPolicy,
    StateDependentGaussianPolicy,
)
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.agents.policies.squashed_normal import SquashedNormal

__all__ = [
    "AbstractPolicy",
    "ActionBounds",
    "BernoulliPolicy",
    "CategoricalPolicy",
    "DeterministicAction",
    "DeterministicPolicy",
    "GaussianPolicy",
    "MultiCategoricalPolicy",
    "SquashedGaussianPolicy",
    "SquashedNormal",
    "StateDependentGaussianPolicy",
    "action_bounds",
    "policy_for",
]
