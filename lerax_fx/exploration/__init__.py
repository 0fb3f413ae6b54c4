"""Ways to act otherwise than the agent would, so that it sees more."""

from lerax_fx.exploration.epsilon_greedy import EpsilonGreedy, epsilon_greedy
from lerax_fx.exploration.exploration import AbstractExploration
from lerax_fx.exploration.gaussian_noise import GaussianNoise, gaussian_noise

__all__ = [
    "AbstractExploration",
    "EpsilonGreedy",
    "GaussianNoise",
    "epsilon_greedy",
    "gaussian_noise",
]
