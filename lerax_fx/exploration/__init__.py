"""Ways to act otherwise than the agent would, so that it sees more."""

from lerax_fx.exploration.epsilon_greedy import EpsilonGreedy, epsilon_greedy
from lerax_fx.exploration.exploration import AbstractExploration, Scheduled

__all__ = ["AbstractExploration", "EpsilonGreedy", "Scheduled", "epsilon_greedy"]
