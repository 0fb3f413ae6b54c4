"""Models of an environment in continuous time: neural ODEs."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from lerax_fx.agents.networks import squeeze_scalar
from lerax_fx.agents.policies import ActionBounds
from lerax_fx.nde.equations import ODE
from lerax_fx.nde.observations import Scaling
from lerax_fx.nde.solvers import Method, method
from lerax_fx.typing import Flag, Scalar

RewardFunction = Callable[[Array, Array, Array], Scalar]
"""`(observation, action, next_observation) -> reward`, of one step."""


@final
class Predicted(eqx.Module):
    """A model's prediction for one action.

    - `state`: after it.
    - `reward`: for it.
    - `termination`: the log-odds that it terminates the episode; minus infinity for a
      model that knows of no end.
    - `failed`: whether the equation could not be solved; then `state` is that before it.
    """

    state: Float[Array, " state"]
    reward: Scalar
    termination: Scalar
    failed: Flag


@final
class DrivenField(eqx.Module):
    """A vector field `(t, state) -> slope` under a constant action.

    - `field`: of a vector: the state and the action.
    - `drive`: the action.
    """

    field: Callable[..., Any]
    drive: Float[Array, " size"]

    def __call__(self, t: Any, state: Float[Array, " state"]) -> Float[Array, " state"]:
        """The slope, the same at any time."""
        del t
        return self.field(jnp.concatenate([state, self.drive]))


@final
class Dynamics(eqx.Module):
    """A dynamics model: an ordinary differential equation, with heads for reward and termination.

        d state / dt = field(state, action),   reward = dt * reward_head(state, action)

    While it acts, an action holds. Du et al. 2020, "Model-based Reinforcement Learning for
    Semi-Markov Decision Processes with Neural ODEs", section 3; Yildiz et al. 2021,
    "Continuous-Time Model-Based Reinforcement Learning", section 4.

    - `observations`, `actions`: how they are scaled. Actions beyond their bounds count as
      on them.
    - `field`: a module from a vector, the state and the scaled action, to the state's
      velocity, in 1 / unit of time.
    - `reward_head`: a module from the same vector to the reward for a unit of time, of shape
      `(1,)`; None if `reward` is known.
    - `termination_head`: a module from the same vector, with the state after the action, to the
      log-odds that it terminated the episode, `(1,)`; None if that is not modelled.
    - `encoder`, `decoder`: modules from the scaled observation to the latent state and back;
      None if the one is the other.
    - `reward`: the known reward of a step, of the observations as they are, or None.
    - `method`: how the equation is solved.

    Observations are arrays, which come 1 apart, or [`Timed`][lerax_fx.data.Timed].
    """

    observations: Scaling
    actions: ActionBounds
    field: Callable[..., Any]
    reward_head: Callable[..., Any] | None
    termination_head: Callable[..., Any] | None = None
    encoder: Callable[..., Any] | None = None
    decoder: Callable[..., Any] | None = None
    reward: RewardFunction | None = eqx.field(static=True, default=None)
    method: Method = eqx.field(static=True, default_factory=lambda: method("Dynamics"))

    def encode(self, observation: Float[Array, "..."]) -> Float[Array, " state"]:
        """The state of an observation."""
        scaled = self.observations.scale(observation)
        return scaled if self.encoder is None else self.encoder(scaled)

    def decode(self, state: Float[Array, " state"]) -> Float[Array, "..."]:
        """The observation of a state."""
        return self.observations.unscale(self._scaled(state))

    def error(
        self, state: Float[Array, " state"], observation: Float[Array, "..."]
    ) -> Float[Array, " size"]:
        """The error of a state's observation, in units of half the width between the observation's
        bounds.
        """
        return self._scaled(state) - self.observations.scale(observation)

    def step(
        self, state: Float[Array, " state"], action: Float[Array, "..."], dt: ScalarLike = 1.0
    ) -> Predicted:
        """The prediction for one action, applied for a time `dt`.

        **Arguments:**

        - `dt`: at least 0, in units of time; of an environment without a clock of its own
          one step is the unit. After 0 the state is the same, and a learnt reward is 0.
        """
        following, failed = self.flow(state, action, dt)
        return Predicted(
            following, *self.reward_and_termination(state, action, following, dt), failed
        )

    def flow(
        self, state: Float[Array, " state"], action: Float[Array, "..."], dt: ScalarLike = 1.0
    ) -> tuple[Float[Array, " state"], Flag]:
        """The state after one action for a time `dt`, and whether the solver failed."""
        equation = self.method.guarded(ODE(DrivenField(self.field, self._drive(action))))
        dt = jnp.asarray(dt, state.dtype)
        return self.method.interval(equation, state, t=0.0, dt=dt, control=None, key=None)

    def reward_and_termination(
        self,
        state: Float[Array, " state"],
        action: Float[Array, "..."],
        following: Float[Array, " state"],
        dt: ScalarLike = 1.0,
    ) -> tuple[Scalar, Scalar]:
        """The predicted reward of a step, and the log-odds that it terminated the episode."""
        drive = self._drive(action)
        reward, ends = jnp.zeros(()), jnp.asarray(-jnp.inf)
        if self.reward is not None:
            clipped = self.actions.clipped(action)
            reward = self.reward(self.decode(state), clipped, self.decode(following))
        elif self.reward_head is not None:
            reward = jnp.asarray(dt) * squeeze_scalar(
                self.reward_head(jnp.concatenate([state, drive]))
            )
        if self.termination_head is not None:
            ends = squeeze_scalar(self.termination_head(jnp.concatenate([following, drive])))
        return reward, ends

    def _drive(self, action: Array) -> Array:
        return jnp.ravel(self.actions.unscaled(self.actions.clipped(action)))

    def _scaled(self, state: Array) -> Array:
        return state if self.decoder is None else self.decoder(state)
