"""Policies without chance."""

from typing import Any, final

import distrax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lerax_fx.agents.policies.action_bounds import ActionBounds
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.types import Key, Scalar


class DeterministicAction(distrax.Distribution):
    """One action, for sure.

    **Arguments:**

    - `action`: of the shape that `bounds` has.
    - `bounds`: what exploration keeps within. They are structure of this PyTree.
    """

    def __init__(self, action: Float[Array, "*shape"], bounds: ActionBounds):
        super().__init__()
        self._action = action
        self.bounds = bounds

    @property
    def event_shape(self) -> tuple[int, ...]:
        """An event is a whole action."""
        return self.bounds.shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Always one action: a batch of these is made with `jax.vmap`."""
        return ()

    def log_prob(self, value: Float[Array, "*shape"]) -> Scalar:
        """The log of its mass: 0 for the action, minus infinity for any other."""
        return jnp.where(jnp.all(value == self._action), 0.0, -jnp.inf)

    def entropy(self) -> Scalar:
        """That of a mass in one place: 0."""
        return jnp.zeros(())

    def mode(self) -> Float[Array, "*shape"]:
        """The action."""
        return self._action

    def _sample_n(self, key: Key, n: int) -> Float[Array, "n *shape"]:
        del key
        return jnp.broadcast_to(self._action, (n, *self._action.shape))

    def _sample_n_and_log_prob(self, key: Key, n: int) -> tuple[Any, Float[Array, " n"]]:
        return self._sample_n(key, n), jnp.zeros(n)


@final
class DeterministicPolicy(AbstractPolicy):
    """The network's output, squashed by tanh and rescaled to the bounds. For a bounded `Box`.

    Lillicrap et al. 2016, "Continuous control with deep reinforcement learning", section 7.
    """

    bounds: ActionBounds

    @property
    def parameters(self) -> int:
        return self.bounds.size

    def __call__(self, outputs: Float[Array, "{self.parameters}"]) -> distrax.Distribution:
        action = self.bounds.scaled(jnp.tanh(outputs).reshape(self.bounds.shape))
        return DeterministicAction(action, self.bounds)
