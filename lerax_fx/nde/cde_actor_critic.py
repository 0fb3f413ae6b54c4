"""Actor-critics whose memory is a controlled differential equation, driven by observations."""

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.actor_critic import AbstractActorCritic
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.linear import only_number
from lerax_fx.agents.output import Output
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.nde.equations import CDE, AbstractEquation
from lerax_fx.nde.method import Method
from lerax_fx.nde.split_time import split_time
from lerax_fx.types import Flag, Key, Scalar, Tree


@final
class CDEMemory(eqx.Module):
    """What a [`CDEActorCritic`][] remembers: the solution so far, and where the control is.

    - `state`: of the equation.
    - `control`: the features of the last observation.
    - `begun`: whether there was one in this episode.
    """

    state: Float[Array, "*batch size"]
    control: Float[Array, "*batch channels"]
    begun: Bool[Array, "*batch"]


@final
class CDEActorCritic(AbstractActorCritic):
    """The neural CDE of Kidger et al. 2020, "Neural Controlled Differential Equations for
    Irregular Time Series", solved one interval at a time.

    The control is time together with features of the observations, and goes on a straight
    line from each observation to the next. Agents act when an observation comes, and the
    line up to it depends on nothing later: so this interpolation never looks ahead, which a
    spline through all observations would. (Where a state is wanted between observations, or
    some entries of one are missing, the line does look ahead; rectilinear control of Morrill
    et al. 2021, "Neural Controlled Differential Equations for Online Prediction Tasks", does
    not, at twice the intervals.)

    - `encoding`: of observations as floats.
    - `torso`: a module from the encoded observation to the control's channels.
    - `start`: a module from the channels at an episode's first observation to the state.
    - `field`: a module `(t, state) -> (size, 1 + channels)`.
    - `actor`: a module from the state to the policy's `parameters` numbers.
    - `critic`: a module from the state to one number, of shape `(1,)`.
    - `policy`: from the actor's output to a distribution.
    - `method`: how an interval is solved.

    Observations are arrays, which come 1 apart, or [`Timed`][lerax_fx.Timed].
    """

    encoding: Encoding
    torso: Callable[..., Any]
    start: Callable[..., Any]
    field: Callable[..., Any]
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy
    size: int = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    method: Method = eqx.field(static=True)

    def initial_memory(self) -> CDEMemory:
        return CDEMemory(jnp.zeros(self.size), jnp.zeros(self.channels), jnp.zeros((), bool))

    def step(self, memory: CDEMemory, observation: Tree, key: Key) -> tuple[CDEMemory, Output]:
        del key
        control, dt = self._control(observation)
        moved = jnp.append(dt, control - memory.control)
        begin = self.start(control)
        state = self._advance(self._equation(), memory.state, moved, begin, ~memory.begun)
        memory = CDEMemory(state, control, jnp.ones((), bool))
        return memory, self._output(state)

    def unroll(
        self, memory: CDEMemory, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[CDEMemory, Output]:
        del key
        # The control is known beforehand; only the equation is left in the scan.
        controls, dts = jax.vmap(self._control)(observations)
        before = jnp.concatenate([memory.control[None], controls[:-1]])
        moved = jnp.concatenate([dts[:, None], controls - before], axis=1)
        begins = resets | (~memory.begun & (jnp.arange(len(resets)) == 0))
        equation = self._equation()

        def advance(state: Array, inputs: tuple[Array, Array, Flag]) -> tuple[Array, Array]:
            state = self._advance(equation, state, *inputs)
            return state, state

        starts = jax.vmap(self.start)(controls)
        state, states = jax.lax.scan(advance, memory.state, (moved, starts, begins))
        memory = CDEMemory(state, controls[-1], jnp.ones((), bool))
        return memory, jax.vmap(self._output)(states)

    def _equation(self) -> AbstractEquation:
        return self.method.guarded(CDE(self.field))

    def _control(self, observation: Tree) -> tuple[Float[Array, " channels"], Scalar]:
        value, dt = split_time(observation)
        return self.torso(self.encoding(value)), dt

    def _advance(
        self,
        equation: AbstractEquation,
        state: Float[Array, " size"],
        moved: Float[Array, " moved"],
        begin: Float[Array, " size"],
        begins: Flag,
    ) -> Float[Array, " size"]:
        """The state at the next observation; `begin` if that is an episode's first."""
        after, _ = self.method.interval(
            equation, state, t=0.0, dt=moved[0], control=moved, key=None
        )
        return jnp.where(begins, begin, after)

    def _output(self, state: Float[Array, " size"]) -> Output:
        return Output(self.policy(self.actor(state)), only_number(self.critic(state)))
