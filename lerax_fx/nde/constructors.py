"""Agents with a differential equation for memory, that fit an environment."""

from typing import Any, Final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from lerax_fx._core.bounds import check_count, check_flag, check_number
from lerax_fx.agents.activation import Activation
from lerax_fx.agents.constructors.networks import ACTOR_GAIN, CRITIC_GAIN, torso_for
from lerax_fx.agents.linear import Linear, orthogonal
from lerax_fx.agents.mlp import HIDDEN_GAIN, MLP
from lerax_fx.agents.policies import policy_for
from lerax_fx.agents.recurrent import GRU
from lerax_fx.environments.spaces_of import spaces_of
from lerax_fx.errors import HyperparameterError, explain
from lerax_fx.nde.cde_actor_critic import CDEActorCritic
from lerax_fx.nde.failure import OnFailure
from lerax_fx.nde.fields import GRUField, MatrixField, NetworkField
from lerax_fx.nde.linear_cde import LinearCDE
from lerax_fx.nde.linear_cde_actor_critic import LinearCDEActorCritic, LinearCDELayer
from lerax_fx.nde.method import method
from lerax_fx.nde.ode_actor_critic import ODEActorCritic
from lerax_fx.nde.split_time import value_space
from lerax_fx.types import Interval, Key

# A flow that hardly moves at first: the agent begins as a GRU.
_FLOW_GAIN: Final = 0.1
# A memory that at first keeps what it has.
_KEEP: Final = 2.0


def ode_actor_critic(
    env: Any,
    *,
    key: Key,
    width: int = 64,
    depth: int = 1,
    activation: Activation = "tanh",
    flow: str = "mlp",
    hidden: int = 64,
    solver: Any = "heun",
    steps: int = 1,
    controller: Any = None,
    adjoint: Any = "store",
    on_failure: OnFailure = "hold",
    squash: bool = False,
    log_std: float = 0.0,
) -> ODEActorCritic:
    """An ODE-RNN: a memory that flows between observations and jumps, by a GRU, at them.

    **Arguments:**

    - `env`, `width`, `depth`, `activation`, `squash`, `log_std`: as in
      [`gru_actor_critic`][lerax_fx.gru_actor_critic]. Observations may be
      [`Timed`][lerax_fx.Timed]; others come 1 apart.
    - `flow`: `"mlp"`, a network with one hidden layer of `hidden`, or `"gru"`, the GRU-ODE of
      de Brouwer et al. 2019, which needs no hidden layer.
    - `solver`, `steps`, `controller`, `adjoint`, `on_failure`: as in
      [`nde_solve`][lerax_fx.nde_solve], for the interval between two observations.

    **Raises:** as `gru_actor_critic` and `nde_solve` do.
    """
    where = "ode_actor_critic"
    observations, actions = spaces_of(env)
    observations = value_space(observations)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
    how = method(
        where,
        solver=solver,
        steps=steps,
        controller=controller,
        adjoint=adjoint,
        on_failure=on_failure,
    )
    torso_key, gru_key, flow_key, actor_key, critic_key = jax.random.split(key, 5)
    encoding, torso = torso_for(where, observations, width, depth, activation, torso_key)
    return ODEActorCritic(
        encoding,
        torso,
        _flow(where, flow, width, check_count(f"{where}: hidden", hidden), flow_key),
        GRU(width, width, key=gru_key),
        Linear(orthogonal(actor_key, width, policy.parameters, ACTOR_GAIN)),
        Linear(orthogonal(critic_key, width, 1, CRITIC_GAIN)),
        policy,
        how,
    )


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
    squash: bool = False,
    log_std: float = 0.0,
) -> CDEActorCritic:
    """A neural CDE: a memory that is driven by time and by what is observed.

    **Arguments:**

    - `env`, `squash`, `log_std`: as in [`gru_actor_critic`][lerax_fx.gru_actor_critic].
      Observations may be [`Timed`][lerax_fx.Timed]; others come 1 apart.
    - `width`: of the memory.
    - `channels`: of the control, besides time: features of the observation by one linear
      layer (a convolutional network, for images). The field's last layer has
      `width * (1 + channels)` outputs.
    - `gain`: what the features' initial weights are multiplied with. The field is bounded, so
      what features move by from one observation to the next should be of the size of 1. The
      default suits smooth motion in units of about 1; take 1 for observations that jump.
    - `hidden`: of the field's hidden layer, and `activation` there.
    - `solver`, `steps`, `controller`, `adjoint`, `on_failure`: as in
      [`nde_solve`][lerax_fx.nde_solve], for the interval between two observations.

    **Raises:** as `gru_actor_critic` and `nde_solve` do.
    """
    where = "cde_actor_critic"
    observations, actions = spaces_of(env)
    observations = value_space(observations)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
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
    torso_key, start_key, field_key, actor_key, critic_key = jax.random.split(key, 5)
    encoding, torso = torso_for(where, observations, channels, 1, "identity", torso_key)
    torso = eqx.tree_at(_last_weight, torso, replace_fn=lambda weight: gain * weight)
    return CDEActorCritic(
        encoding,
        torso,
        Linear(orthogonal(start_key, channels, width, 1 / gain)),
        _matrix_field(width, 1 + channels, hidden, activation, field_key),
        Linear(orthogonal(actor_key, width, policy.parameters, ACTOR_GAIN)),
        Linear(orthogonal(critic_key, width, 1, CRITIC_GAIN)),
        policy,
        width,
        channels,
        how,
    )


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
    """An encoder, linear CDEs as a memory, and a linear policy and value on top of them.

    As [`gru_actor_critic`][lerax_fx.gru_actor_critic], but for the memory: trained in
    parallel over time, and told how much of it passed.

    **Arguments:**

    - `env`, `activation`, `squash`, `log_std`: as in
      [`mlp_actor_critic`][lerax_fx.mlp_actor_critic]; observations may be
      [`Timed`][lerax_fx.Timed].
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
    observations, actions = spaces_of(env)
    observations = value_space(observations)
    policy = policy_for(actions, squash=squash, log_std=log_std, where=where)
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


def _flow(where: str, flow: str, width: int, hidden: int, key: Key) -> NetworkField | GRUField:
    if flow == "mlp":
        return NetworkField(MLP((width, hidden, width), key=key, last_gain=_FLOW_GAIN))
    if flow == "gru":
        squares = [orthogonal(key, width, width, 1.0) for key in jax.random.split(key, 3)]
        bias = jnp.concatenate([jnp.zeros(width), jnp.full(width, _KEEP)])
        weight = jnp.concatenate(squares[:2], axis=1)
        return GRUField(weight, bias, squares[2], jnp.zeros(width))
    raise HyperparameterError(
        explain(f"{where}: flow", wanted="'mlp' or 'gru'", got=repr(flow), fix="Pass one of them.")
    )
