"""Actor-critics whose hidden state follows an ODE or a CDE, and their constructors."""

from collections.abc import Callable
from typing import Any, Final, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx._core.arguments import (
    check_count,
    check_flag,
    check_number,
    check_one_number,
    suggest_keywords,
)
from lerax_fx.agents.encoding import ACTOR_GAIN, CRITIC_GAIN, AnyEncoding, torso_for
from lerax_fx.agents.networks import (
    GRU,
    HIDDEN_GAIN,
    MLP,
    Activation,
    Linear,
    orthogonal,
    squeeze_scalar,
)
from lerax_fx.agents.policies import AbstractPolicy, policy_for
from lerax_fx.agents.protocols import AbstractActorCritic, Output
from lerax_fx.envs.registry import spaces_of
from lerax_fx.errors import HyperparameterError, format_error
from lerax_fx.nde.equations import CDE, ODE, AbstractEquation, GRUField, MatrixField, NetworkField
from lerax_fx.nde.linear_cde import LinearCDE, LinearCDEActorCritic, LinearCDELayer
from lerax_fx.nde.observations import split_time, value_space
from lerax_fx.nde.solvers import Method, OnFailure, method
from lerax_fx.typing import Flag, Interval, Key, Scalar, Tree


@final
class CDEMemory(eqx.Module):
    """The hidden state of a [`CDENetwork`][]: the solution so far, and the last value of the
    control.

    - `state`: of the equation.
    - `control`: the features of the last observation.
    - `begun`: whether there was one in this episode.
    """

    state: Float[Array, "*batch size"]
    control: Float[Array, "*batch channels"]
    begun: Bool[Array, "*batch"]


@final
class CDENetwork(eqx.Module):
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
    - `method`: how an interval is solved.

    Observations are arrays, which come 1 apart, or [`Timed`][lerax_fx.data.Timed].
    """

    encoding: AnyEncoding
    torso: Callable[..., Any]
    start: Callable[..., Any]
    field: Callable[..., Any]
    size: int = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    method: Method = eqx.field(static=True)

    def initial_memory(self) -> CDEMemory:
        """Before an episode's first observation."""
        return CDEMemory(jnp.zeros(self.size), jnp.zeros(self.channels), jnp.zeros((), bool))

    def step(self, memory: CDEMemory, observation: Tree) -> tuple[CDEMemory, Float[Array, " size"]]:
        """The memory and the state after one more observation."""
        control, dt = self._control(observation)
        moved = jnp.append(dt, control - memory.control)
        begin = self.start(control)
        state = self._advance(self._equation(), memory.state, moved, begin, ~memory.begun)
        return CDEMemory(state, control, jnp.ones((), bool)), state

    def unroll(
        self, memory: CDEMemory, observations: Tree, resets: Bool[Array, " time"]
    ) -> tuple[CDEMemory, Float[Array, "time size"]]:
        """The memory after a trajectory, and the states after each observation."""
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
        return CDEMemory(state, controls[-1], jnp.ones((), bool)), states

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


@final
class CDEActorCritic(AbstractActorCritic):
    """A recurrent actor-critic on the states of neural CDEs.

    - `networks`: one [`CDENetwork`][] that policy and value share, or one of each.
    - `actor`: a module from the policy's state to the policy's `parameters` numbers.
    - `critic`: a module from the value's state to one number, of shape `(1,)`.
    - `policy`: from the actor's output to a distribution.
    """

    networks: tuple[CDENetwork, ...]
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy

    def initial_memory(self) -> tuple[CDEMemory, ...]:
        return tuple(network.initial_memory() for network in self.networks)

    def step(
        self, memory: tuple[CDEMemory, ...], observation: Tree, key: Key
    ) -> tuple[tuple[CDEMemory, ...], Output]:
        del key
        steps = [
            network.step(part, observation)
            for network, part in zip(self.networks, memory, strict=True)
        ]
        states = [state for _, state in steps]
        return tuple(memory for memory, _ in steps), self._output(states[0], states[-1])

    def unroll(
        self,
        memory: tuple[CDEMemory, ...],
        observations: Tree,
        resets: Bool[Array, " time"],
        key: Key,
    ) -> tuple[tuple[CDEMemory, ...], Output]:
        del key
        unrolled = [
            network.unroll(part, observations, resets)
            for network, part in zip(self.networks, memory, strict=True)
        ]
        states = [states for _, states in unrolled]
        outputs = jax.vmap(self._output)(states[0], states[-1])
        return tuple(memory for memory, _ in unrolled), outputs

    def _output(self, state: Float[Array, " size"], critic_state: Float[Array, " size"]) -> Output:
        return Output(self.policy(self.actor(state)), squeeze_scalar(self.critic(critic_state)))


@final
class ODEActorCritic(AbstractActorCritic):
    """The ODE-RNN of Rubanova et al. 2019, "Latent Ordinary Differential Equations for
    Irregularly-Sampled Time Series", algorithm 1, with a GRU: before an observation, the
    memory flows for the time that passed; at it, it jumps.

    - `encoding`: of observations as floats.
    - `torso`: a module from the encoded observation to features.
    - `vector_field`: the vector field of the memory, a module `(t, memory) -> slope`; `t` is the
      time since the last observation.
    - `gru`: the jump; the memory is a vector that starts at zero.
    - `actor`: a module from the memory to the policy's `parameters` numbers.
    - `critic`: a module from the memory to one number, of shape `(1,)`.
    - `policy`: from the actor's output to a distribution.
    - `method`: how the flow is solved.

    Observations are arrays, which come 1 apart, or [`Timed`][lerax_fx.data.Timed].
    """

    encoding: AnyEncoding
    torso: Callable[..., Any]
    vector_field: Callable[..., Any]
    gru: GRU
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy
    method: Method = eqx.field(static=True)

    def initial_memory(self) -> Float[Array, " size"]:
        return self.gru.initial_memory()

    def step(
        self, memory: Float[Array, " size"], observation: Tree, key: Key
    ) -> tuple[Float[Array, " size"], Output]:
        del key
        memory = self._advance(self._equation(), memory, *self._drive(observation))
        return memory, self._output(memory)

    def unroll(
        self,
        memory: Float[Array, " size"],
        observations: Tree,
        resets: Bool[Array, " time"],
        key: Key,
    ) -> tuple[Float[Array, " size"], Output]:
        del key
        # Only the flow and the jump are left in the scan.
        initial, equation = self.initial_memory(), self._equation()

        def advance(memory: Array, inputs: tuple[Array, Array, Flag]) -> tuple[Array, Array]:
            drive, dt, reset = inputs
            memory = self._advance(equation, jnp.where(reset, initial, memory), drive, dt)
            return memory, memory

        drives, dts = jax.vmap(self._drive)(observations)
        memory, memories = jax.lax.scan(advance, memory, (drives, dts, resets))
        return memory, jax.vmap(self._output)(memories)

    def _equation(self) -> AbstractEquation:
        return self.method.guarded(ODE(self.vector_field))

    def _drive(self, observation: Tree) -> tuple[Float[Array, " gates"], Scalar]:
        value, dt = split_time(observation)
        return self.gru.drive(self.torso(self.encoding(value))), dt

    def _advance(
        self,
        equation: AbstractEquation,
        memory: Float[Array, " size"],
        drive: Float[Array, " gates"],
        dt: Scalar,
    ) -> Float[Array, " size"]:
        flowed, _ = self.method.interval(equation, memory, t=0.0, dt=dt, control=None, key=None)
        return self.gru.advance(flowed, drive)

    def _output(self, memory: Float[Array, " size"]) -> Output:
        return Output(self.policy(self.actor(memory)), squeeze_scalar(self.critic(memory)))


# A vector field that is nearly 0 at first: the agent begins as a GRU.
_VECTOR_FIELD_GAIN: Final = 0.1
# A memory that at first keeps what it has.
_KEEP: Final = 2.0


@suggest_keywords
def ode_actor_critic(
    env: Any,
    *,
    key: Key,
    width: int = 64,
    depth: int = 1,
    activation: Activation = "tanh",
    vector_field: str = "mlp",
    hidden: int = 64,
    solver: Any = "heun",
    steps: int = 1,
    controller: Any = None,
    adjoint: Any = "store",
    on_failure: OnFailure = "hold",
    squash: bool = False,
    log_std: float = 0.0,
) -> ODEActorCritic:
    """An ODE-RNN: a hidden state that follows an ODE between observations, and is updated by a GRU
    at each.

    **Arguments:**

    - `env`, `width`, `depth`, `activation`, `squash`, `log_std`: as in
      [`gru_actor_critic`][lerax_fx.agents.gru_actor_critic]. Observations may be
      [`Timed`][lerax_fx.data.Timed]; others come 1 apart.
    - `vector_field`: `"mlp"`, a network with one hidden layer of `hidden`, or `"gru"`, the GRU-ODE
      of de Brouwer et al. 2019, which needs no hidden layer.
    - `solver`, `steps`, `controller`, `adjoint`, `on_failure`: as in
      [`nde_solve`][lerax_fx.nde.nde_solve], for the interval between two observations.

    **Raises:** as `gru_actor_critic` and `nde_solve` do.
    """
    where = "ode_actor_critic"
    observations, policy = _observations_and_policy(where, env, squash, log_std)
    how = method(
        where,
        solver=solver,
        steps=steps,
        controller=controller,
        adjoint=adjoint,
        on_failure=on_failure,
    )
    torso_key, gru_key, field_key, actor_key, critic_key = jax.random.split(key, 5)
    encoding, torso = torso_for(where, observations, width, depth, activation, torso_key)
    return ODEActorCritic(
        encoding,
        torso,
        _vector_field(
            where, vector_field, width, check_count(f"{where}: hidden", hidden), field_key
        ),
        GRU(width, width, key=gru_key),
        Linear(orthogonal(actor_key, width, policy.parameters, ACTOR_GAIN)),
        Linear(orthogonal(critic_key, width, 1, CRITIC_GAIN)),
        policy,
        how,
    )


@suggest_keywords
def cde_actor_critic(
    env: Any,
    *,
    key: Key,
    width: int = 32,
    channels: int = 4,
    gain: float = 10.0,
    hidden: int = 64,
    activation: Activation = "tanh",
    solver: Any = "heun",
    steps: int = 1,
    controller: Any = None,
    adjoint: Any = "store",
    on_failure: OnFailure = "hold",
    shared: bool = False,
    squash: bool = False,
    log_std: float = 0.0,
) -> CDEActorCritic:
    """A neural CDE: hidden states that are driven by time and by the observations.

    **Arguments:**

    - `env`, `squash`, `log_std`: as in [`gru_actor_critic`][lerax_fx.agents.gru_actor_critic].
      Observations may be [`Timed`][lerax_fx.data.Timed]; others come 1 apart.
    - `width`: of the memory.
    - `channels`: of the control, besides time: features of the observation by one linear
      layer (a convolutional network, for images). The field's last layer has
      `width * (1 + channels)` outputs.
    - `gain`: what the features' initial weights are multiplied with. The field is bounded, so
      what features move by from one observation to the next should be of the size of 1. The
      default suits smooth motion in units of about 1; take 1 for observations that jump.
    - `hidden`: of the field's hidden layer, and `activation` there.
    - `solver`, `steps`, `controller`, `adjoint`, `on_failure`: as in
      [`nde_solve`][lerax_fx.nde.nde_solve], for the interval between two observations.
    - `shared`: whether policy and value stand on one hidden state, or each on its own. One is half
      the work; with it, five of 16 seeds ended below 490 on CartPole-v1 without velocities, the
      worst at 265, and with two, one did, at 474 (docs/learning.md).

    **Raises:** as `gru_actor_critic` and `nde_solve` do.
    """
    where = "cde_actor_critic"
    observations, policy = _observations_and_policy(where, env, squash, log_std)
    how = method(
        where,
        solver=solver,
        steps=steps,
        controller=controller,
        adjoint=adjoint,
        on_failure=on_failure,
    )
    width, channels, hidden = (
        check_count(f"{where}: {name}", value)
        for name, value in (("width", width), ("channels", channels), ("hidden", hidden))
    )
    gain = check_number(f"{where}: gain", gain, Interval(0.0, open_low=True))
    check_one_number(f"{where}: gain", gain)
    shared = check_flag(f"{where}: shared", shared)

    def network(keys: Array) -> CDENetwork:
        encoding, torso = torso_for(where, observations, channels, 1, "identity", keys[0])
        return CDENetwork(
            encoding,
            eqx.tree_at(_last_weight, torso, replace_fn=lambda weight: gain * weight),
            Linear(orthogonal(keys[1], channels, width, 1 / gain)),
            _matrix_field(width, 1 + channels, hidden, activation, keys[2]),
            width,
            channels,
            how,
        )

    actor_keys = jax.random.split(key, 5)
    critic_keys = actor_keys if shared else jax.random.split(jax.random.fold_in(key, 1), 5)
    return CDEActorCritic(
        (network(actor_keys),) if shared else (network(actor_keys), network(critic_keys)),
        Linear(orthogonal(actor_keys[3], width, policy.parameters, ACTOR_GAIN)),
        Linear(orthogonal(critic_keys[4], width, 1, CRITIC_GAIN)),
        policy,
    )


@suggest_keywords
def linear_cde_actor_critic(
    env: Any,
    *,
    key: Key,
    width: int = 64,
    depth: int = 1,
    layers: int = 2,
    activation: Activation = "tanh",
    squash: bool = False,
    log_std: float = 0.0,
    parallel: bool | None = None,
) -> LinearCDEActorCritic:
    """A recurrent actor-critic of structured linear CDEs, with an encoder before and a linear
    policy and value after them.

    As [`gru_actor_critic`][lerax_fx.agents.gru_actor_critic], but for the memory: trained in
    parallel over time, and told how much of it passed.

    **Arguments:**

    - `env`, `activation`, `squash`, `log_std`: as in
      [`mlp_actor_critic`][lerax_fx.agents.mlp_actor_critic]; observations may be
      [`Timed`][lerax_fx.data.Timed].
    - `width`: of the encoder's layers, and of each layer of the memory: its two by two
      blocks, and what it gives on.
    - `depth`: the number of the encoder's layers (after the convolution, for images).
    - `layers`: the number of linear CDEs, each driven by what the one before gives on.
    - `parallel`: whether trajectories are solved by an associative scan, or one interval
      after the other, which on a CPU was as fast or faster (docs/performance.md). By default
      by a scan unless JAX's default backend is a CPU.

    **Raises:** as `mlp_actor_critic` does.
    """
    where = "linear_cde_actor_critic"
    observations, policy = _observations_and_policy(where, env, squash, log_std)
    layers = check_count(f"{where}: layers", layers)
    if parallel is None:
        parallel = jax.default_backend() != "cpu"
    parallel = check_flag(f"{where}: parallel", parallel)
    torso_key, actor_key, critic_key, *layer_keys = jax.random.split(key, 3 + layers)
    encoding, torso = torso_for(where, observations, width, depth, activation, torso_key)

    def layer(key: Key) -> LinearCDELayer:
        equation_key, readout_key = jax.random.split(key)
        readout = MLP(
            (3 * width + 1, width),
            key=readout_key,
            activation=activation,
            last_gain=HIDDEN_GAIN,
            activate_last=True,
        )
        return LinearCDELayer(LinearCDE(width, width, key=equation_key), readout)

    return LinearCDEActorCritic(
        encoding,
        torso,
        tuple(map(layer, layer_keys)),
        Linear(orthogonal(actor_key, width, policy.parameters, ACTOR_GAIN)),
        Linear(orthogonal(critic_key, width, 1, CRITIC_GAIN)),
        policy,
        parallel,
    )


def _observations_and_policy(
    where: str, env: Any, squash: bool, log_std: float
) -> tuple[Any, AbstractPolicy]:
    """The space of the values of observations, without their times, and a policy for actions."""
    observations, actions = spaces_of(env)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    return value_space(observations), policy


def _matrix_field(
    width: int, channels: int, hidden: int, activation: Activation, key: Key
) -> MatrixField:
    sizes = (width, hidden, width * channels)
    network = MLP(sizes, key=key, activation=activation, last_gain=1.0)

    def quiet(weight: Array) -> Array:
        # Time passes all the time: at first it does little but leak.
        return weight.reshape(hidden, width, channels).at[..., 0].multiply(0.1).reshape(hidden, -1)

    network = eqx.tree_at(_last_weight, network, replace_fn=quiet)
    return MatrixField(network, jnp.linspace(-3.0, 3.0, width))


def _last_weight(network: Any) -> Any:
    """Of an MLP, or of the one at a CNN's end."""
    return getattr(network, "mlp", network).layers[-1].weight


def _vector_field(
    where: str, vector_field: str, width: int, hidden: int, key: Key
) -> NetworkField | GRUField:
    if vector_field == "mlp":
        return NetworkField(MLP((width, hidden, width), key=key, last_gain=_VECTOR_FIELD_GAIN))
    if vector_field == "gru":
        squares = [orthogonal(key, width, width, 1.0) for key in jax.random.split(key, 3)]
        bias = jnp.concatenate([jnp.zeros(width), jnp.full(width, _KEEP)])
        weight = jnp.concatenate(squares[:2], axis=1)
        return GRUField(weight, bias, squares[2], jnp.zeros(width))
    raise HyperparameterError(
        format_error(
            f"{where}: vector_field",
            wanted="'mlp' or 'gru'",
            got=repr(vector_field),
            fix="Pass one of them.",
        )
    )
