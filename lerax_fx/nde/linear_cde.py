"""Linear controlled differential equations, and the actor-critic made of them."""

import math
from collections.abc import Callable
from typing import Any, Final, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from lerax_fx._core.arguments import check_count
from lerax_fx.agents.encoding import Encoding
from lerax_fx.agents.networks import orthogonal, squeeze_scalar
from lerax_fx.agents.policies import AbstractPolicy
from lerax_fx.agents.protocols import AbstractActorCritic, Output
from lerax_fx.nde.observations import possible_length, split_time
from lerax_fx.typing import Key, Scalar, Tree

# Initial decay rates, per unit of time: from within a step to hundreds of them.
_FASTEST: Final = 2.0
_SLOWEST: Final = 0.02
# The initial gain for a steady change. In most environments observations change by little in one
# unit of time. With 50 in place of 10, a second layer saturates.
_GAIN: Final = 10.0
_SMALL: Final = 1e-2  # where (e^z - 1) / z is summed as a series


@final
class LinearCDE(eqx.Module):
    """A structured linear controlled differential equation (SLiCE), block-diagonal.

    Walker et al. 2025, "Structured Linear CDEs: Maximally Expressive and Parallel-in-Time
    Models", eq. 3, with an inhomogeneous term:

        dh = (sum_i A_i dX_i) h + B dX,    X = (time, inputs)

    `A_i` has blocks of two by two on its diagonal, each a rotation and a scaling: one
    complex number. Blocks commute, so products of flows have the blocks' own cost, `size`,
    and the flow over an interval in which `X` is straight is exact and in closed form:

        h' = e^z h + (e^z - 1) / z B dX,    z = sum_i A_i dX_i

    Dense blocks, or the paper's diagonal-plus-low-rank and Walsh-Hadamard forms, can do
    more (they track states that do not commute), at `size^2` for each product of two flows
    within a parallel scan. What commuting blocks cannot do is left to the networks around.

    Time only ever damps: the real part of its entry in `A` is negative. The inputs' share
    of `z` adds up to that of the path's two ends, so the state stays bounded while the
    inputs do, however long the trajectory.

    Parameters and inputs of fewer than 32 bits (bfloat16, float16) are converted to float32:
    the state is complex, and a sum over all of a trajectory.

    **Arguments:**

    - `inputs`: how many there are.
    - `size`: the number of blocks; the state has as many complex entries.

    **Raises:** `HyperparameterError` for a count below 1.
    """

    log_decay: Float[Array, " size"]
    frequency: Float[Array, " size"]
    weight: Float[Array, "inputs parts"]
    drive: Float[Array, "controls parts"]

    def __init__(self, inputs: int, size: int, *, key: Key):
        inputs = check_count("LinearCDE: inputs", inputs)
        size = check_count("LinearCDE: size", size)
        frequency_key, weight_key, drive_key = jax.random.split(key, 3)
        self.log_decay = jnp.linspace(math.log(_SLOWEST), math.log(_FASTEST), size)
        # A block rotates by a radian at most in its decay time: slower blocks rotate slower.
        turns = jax.random.uniform(frequency_key, (size,), minval=-1.0)
        self.frequency = turns * jnp.exp(self.log_decay)
        self.weight = orthogonal(weight_key, inputs, 2 * size, 0.1)
        drive = orthogonal(drive_key, inputs + 1, 2 * size, 1.0)
        # The state of a block with decay rate r is about (rate of change) / r of its input.
        # Scaled by r, all states are smoothed rates of change of one size.
        rates = jnp.tile(jnp.exp(self.log_decay), 2)
        self.drive = drive * rates * _GAIN

    @property
    def size(self) -> int:
        """The number of blocks."""
        return self.log_decay.shape[-1]

    def initial_state(self) -> Complex[Array, " size"]:
        """Zeros, complex64 for parameters of at most 32 bits."""
        nothing = jnp.zeros_like(_precise(self.frequency))
        return jax.lax.complex(nothing, nothing)

    def flow(
        self, dt: Scalar, change: Float[Array, " inputs"]
    ) -> tuple[Complex[Array, " size"], Complex[Array, " size"]]:
        """The flow over one interval, `(factor, shift)`: the state becomes
        `factor * state + shift`.

        **Arguments:**

        - `dt`: the interval's length, in units of time. At 0 only the inputs' change acts.
          A negative one runs time backwards, and the state may grow.
        - `change`: of the inputs over the interval, which is straight.
        """
        decay = jax.lax.complex(-jnp.exp(_precise(self.log_decay)), _precise(self.frequency))
        change, dt = _precise(change), _precise(dt)
        z = dt * decay + _as_complex(change @ _precise(self.weight))
        pushed = _as_complex(jnp.append(change, dt) @ _precise(self.drive))
        return jnp.exp(z), _mean_exponential(z) * pushed

    def solve(
        self,
        state: Complex[Array, " size"],
        dts: Float[Array, " time"],
        changes: Float[Array, "time inputs"],
        resets: Bool[Array, " time"],
        *,
        parallel: bool,
    ) -> Complex[Array, "time size"]:
        """The states after each of the intervals.

        **Arguments:**

        - `state`: before the first.
        - `resets`: whether the state becomes 0 before an interval.
        - `parallel`: by an associative scan over flows, of logarithmic depth, or one
          interval after the other. The same but for rounding.
        """
        factors, shifts = jax.vmap(self.flow)(dts, changes)
        if not parallel:
            return _one_by_one(state, factors, shifts, resets)
        shifts = shifts.at[0].add(factors[0] * jnp.where(resets[0], 0.0, state))
        return jax.lax.associative_scan(_then, (factors, shifts, resets))[1]


def _then(first: Any, second: Any) -> Any:
    """The composition of two flows, with whether there is a reset among them, which discards what
    came before it.
    """
    (factor, shift, reset), (next_factor, next_shift, next_reset) = first, second
    # Selected, not multiplied by 0: what is discarded may be NaN.
    discard = next_reset[..., None]
    factor, shift = jnp.where(discard, 0.0, factor), jnp.where(discard, 0.0, shift)
    return next_factor * factor, next_factor * shift + next_shift, reset | next_reset


def _one_by_one(
    state: Complex[Array, " size"],
    factors: Complex[Array, "time size"],
    shifts: Complex[Array, "time size"],
    resets: Bool[Array, " time"],
) -> Complex[Array, "time size"]:
    def advance(state: Array, flow: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        factor, shift, reset = flow
        state = factor * jnp.where(reset, 0.0, state) + shift
        return state, state

    return jax.lax.scan(advance, state, (factors, shifts, resets))[1]


def _precise(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same in float32 at least, since XLA's complex numbers are made of 32 or 64 bits each."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _as_complex(parts: Float[Array, " parts"]) -> Complex[Array, " size"]:
    real, imaginary = jnp.split(parts, 2)
    return jax.lax.complex(real, imaginary)


def _mean_exponential(z: Complex[Array, " size"]) -> Complex[Array, " size"]:
    """`(e^z - 1) / z`, the mean of `e^(s z)` over s from 0 to 1; 1 at 0."""
    small = jnp.abs(z.real) + jnp.abs(z.imag) < _SMALL
    # Made safe before dividing: a gradient would see 0/0 otherwise.
    safe = jnp.where(small, 1.0, z)
    series = 1.0 + z / 2.0 * (1.0 + z / 3.0 * (1.0 + z / 4.0))
    return jnp.where(small, series, (jnp.exp(safe) - 1.0) / safe)


@final
class LinearCDEMemory(eqx.Module):
    """The hidden state of a layer between observations.

    - `state`: of the differential equation.
    - `features`: what drove it last, from where its path goes on; 0 before the first.
    """

    state: Complex[Array, " size"]
    features: Float[Array, " features"]


@final
class LinearCDELayer(eqx.Module):
    """A layer: a linear CDE driven by features, and a network on its state, the features and the
    time that passed.

    The path that drives it is straight from each observation to the next: what happens up
    to an observation depends on that one and those before, never on later ones. It
    begins at 0, so that the first observation counts as well as how they change.
    """

    equation: LinearCDE
    readout: Callable[..., Any]

    def initial_memory(self) -> LinearCDEMemory:
        """The hidden state before an episode's first observation."""
        state = self.equation.initial_state()
        features = jnp.zeros(self.equation.weight.shape[-2], state.real.dtype)
        return LinearCDEMemory(state, features)

    def step(
        self, memory: LinearCDEMemory, features: Float[Array, " features"], dt: Scalar
    ) -> tuple[LinearCDEMemory, Float[Array, " outputs"]]:
        """One interval: the hidden state after it, and the layer's output."""
        features = features.astype(memory.features.dtype)
        factor, shift = self.equation.flow(dt, features - memory.features)
        state = factor * memory.state + shift
        return LinearCDEMemory(state, features), self._read(state, features, dt)

    def unroll(
        self,
        memory: LinearCDEMemory,
        features: Float[Array, "time features"],
        dts: Float[Array, " time"],
        resets: Bool[Array, " time"],
        *,
        parallel: bool,
    ) -> tuple[LinearCDEMemory, Float[Array, "time outputs"]]:
        """What repeated `step`s would give, with the hidden state reset where `resets` is true."""
        features = features.astype(memory.features.dtype)
        before = jnp.concatenate([memory.features[None], features[:-1]])
        before = jnp.where(resets[:, None], 0.0, before)
        changes = features - before
        states = self.equation.solve(memory.state, dts, changes, resets, parallel=parallel)
        last = LinearCDEMemory(states[-1], features[-1])
        return last, jax.vmap(self._read)(states, features, dts)

    def _read(
        self, state: Complex[Array, " size"], features: Float[Array, " features"], dt: Scalar
    ) -> Float[Array, " outputs"]:
        return self.readout(jnp.concatenate([state.real, state.imag, features, dt[None]]))


@final
class LinearCDEActorCritic(AbstractActorCritic):
    """A recurrent actor-critic of stacked linear CDEs, driven by features of the observations;
    actor and critic take the last layer's output.

    The state of a layer is a linear function of its inputs' past; a second layer takes non-linear
    functions of the first one's.
    Observations are [`Timed`][lerax_fx.data.Timed], or arrays that are one unit of time apart.

    - `encoding`: of observations as floats, without their times.
    - `torso`: a module from the encoded observation to features.
    - `layers`: what the memory is made of.
    - `actor`, `critic`, `policy`: as in
      [`RecurrentActorCritic`][lerax_fx.agents.RecurrentActorCritic].
    - `parallel`: whether trajectories are solved by an associative scan.
    """

    encoding: Encoding
    torso: Callable[..., Any]
    layers: tuple[LinearCDELayer, ...]
    actor: Callable[..., Any]
    critic: Callable[..., Any]
    policy: AbstractPolicy
    parallel: bool = eqx.field(static=True, default=True)

    def initial_memory(self) -> tuple[LinearCDEMemory, ...]:
        return tuple(layer.initial_memory() for layer in self.layers)

    def step(
        self, memory: tuple[LinearCDEMemory, ...], observation: Tree, key: Key
    ) -> tuple[tuple[LinearCDEMemory, ...], Output]:
        del key
        features, dt = self._features(observation)
        after: list[LinearCDEMemory] = []
        for layer, before in zip(self.layers, memory, strict=True):
            now, features = layer.step(before, features, dt)
            after.append(now)
        return tuple(after), self._output(features)

    def unroll(
        self,
        memory: tuple[LinearCDEMemory, ...],
        observations: Tree,
        resets: Bool[Array, " time"],
        key: Key,
    ) -> tuple[tuple[LinearCDEMemory, ...], Output]:
        del key
        features, dts = jax.vmap(self._features)(observations)
        after: list[LinearCDEMemory] = []
        for layer, before in zip(self.layers, memory, strict=True):
            last, features = layer.unroll(before, features, dts, resets, parallel=self.parallel)
            after.append(last)
        return tuple(after), jax.vmap(self._output)(features)

    def _features(self, observation: Tree) -> tuple[Float[Array, " features"], Scalar]:
        value, dt = split_time(observation)
        features = self.torso(self.encoding(value))
        return features, possible_length(jnp.asarray(dt, features.dtype))

    def _output(self, features: Float[Array, " features"]) -> Output:
        return Output(self.policy(self.actor(features)), squeeze_scalar(self.critic(features)))
