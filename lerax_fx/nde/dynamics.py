"""Models of an environment in continuous time."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lerax_fx.nde.step import heun
from lerax_fx.types import Scalar, Tree

RewardFunction = Callable[[Tree, Array, Tree], Scalar]
"""`(observation, action, next_observation) -> reward`, of one step."""


@final
class VectorBox(eqx.Module):
    """Arrays between bounds as vectors of numbers of the size of 1, and back.

    - `shape`: of an array.
    - `center`, `half`: of the bounds, flat; where there are none, 0 and 1. Structure: an
      optimiser that decays weights must not move them.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    center: tuple[float, ...] = eqx.field(static=True)
    half: tuple[float, ...] = eqx.field(static=True)

    @property
    def size(self) -> int:
        return len(self.center)

    def scale(self, x: Float[Array, "..."]) -> Float[Array, " size"]:
        """An array as a vector: the bounds at -1 and 1."""
        flat = jnp.asarray(x, jnp.result_type(float)).reshape(self.size)
        return (flat - jnp.asarray(self.center)) / jnp.asarray(self.half)

    def unscale(self, vector: Float[Array, " size"]) -> Float[Array, "..."]:
        """The inverse of `scale`."""
        flat = vector * jnp.asarray(self.half) + jnp.asarray(self.center)
        return flat.reshape(self.shape)


@final
class Dynamics(eqx.Module):
    """A model of an environment as an ordinary differential equation.

        d state / dt = field(state, action),   reward = dt * rate(state, action)

    An action holds until the next one. Du et al. 2020, "Model-based Reinforcement Learning
    for Semi-Markov Decision Processes with Neural ODEs", section 3; Yildiz et al. 2021,
    "Continuous-Time Model-Based Reinforcement Learning", section 4.

    - `observations`, `actions`: how they are scaled. Actions beyond their bounds count as
      on them.
    - `field`: a module from the state and the action, one vector, to the state's velocity,
      in 1 / unit of time.
    - `rate`: a module from the state and the action to the reward in a unit of time, `(1,)`;
      or None if `reward` is known.
    - `encoder`, `decoder`: modules between the scaled observation and the latent state;
      None if the state is the scaled observation.
    - `reward`: the known reward of a step, or None.
    """

    observations: VectorBox
    actions: VectorBox
    field: Callable[..., Any]
    rate: Callable[..., Any] | None
    encoder: Callable[..., Any] | None = None
    decoder: Callable[..., Any] | None = None
    reward: RewardFunction | None = eqx.field(static=True, default=None)

    def encode(self, observation: Tree) -> Float[Array, " state"]:
        """The state in which something is observed."""
        scaled = self.observations.scale(observation)
        return scaled if self.encoder is None else self.encoder(scaled)

    def decode(self, state: Float[Array, " state"]) -> Float[Array, "..."]:
        """What is observed in a state."""
        return self.observations.unscale(self._scaled(state))

    def step(
        self, state: Float[Array, " state"], action: Float[Array, "..."], dt: ScalarLike = 1.0
    ) -> tuple[Float[Array, " state"], Scalar]:
        """What follows after a time `dt` of one action, and the reward for it.

        **Arguments:**

        - `dt`: at least 0, in the environment's units of time: by default one step.
        """
        drive = jnp.clip(self.actions.scale(action), -1.0, 1.0)

        def field(state: Array) -> Array:
            return self.field(jnp.concatenate([state, drive]))

        following = heun(field, state, jnp.asarray(dt))
        if self.reward is not None:
            return following, self.reward(
                self.decode(state), self.actions.unscale(drive), self.decode(following)
            )
        rate = self.rate(jnp.concatenate([state, drive]))[0]
        return following, dt * rate

    def _scaled(self, state: Array) -> Array:
        return state if self.decoder is None else self.decoder(state)

    def scaled_error(self, state: Array, observation: Tree) -> Array:
        """Of what a state says is observed, in units of half the width between bounds."""
        return self._scaled(state) - self.observations.scale(observation)
