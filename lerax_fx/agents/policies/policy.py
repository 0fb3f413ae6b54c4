"""From the output of a network to a distribution over actions."""

import abc

import distrax
import equinox as eqx
from jaxtyping import Array, Float


class AbstractPolicy(eqx.Module):
    """What a distribution over one kind of action is made of.

    A subclass has arrays only for what is learnt beside the network (a log-std).
    """

    @property
    @abc.abstractmethod
    def parameters(self) -> int:
        """How many numbers it wants of the network."""

    @abc.abstractmethod
    def __call__(self, outputs: Float[Array, " parameters"]) -> distrax.Distribution:
        """The distribution over one action. It is a PyTree that keeps its meaning under
        `vmap` and `scan`, and has `sample`, `log_prob`, `entropy` and `mode`.
        """
