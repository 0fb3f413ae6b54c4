"""Protocols of agents: what stages and losses ask of them."""

import abc
from collections.abc import Sequence
from typing import Any, Protocol, cast, runtime_checkable

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.entries import mask_values
from lerax_fx.agents.policies import ActionBounds, DeterministicAction
from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Key, Scalar, Tree


class Output(eqx.Module):
    """The output of an actor-critic: a policy and a state value.

    `agent.step` gives one, `agent.unroll` one whose arrays begin with the axis of time.

    - `distribution`: over one action: a PyTree with `sample`, `log_prob`, `entropy` and `mode`.
    - `value`: the value of the observation: float, `()`; `(time,)` of a trajectory.
    - `action_mask`: whether each action is allowed, `(actions,)`, by which exploration goes;
      `(time, actions)` of a trajectory. `None` where all are.
    """

    distribution: Any
    value: Float[Array, "*time"]
    action_mask: Bool[Array, "*time actions"] | None = eqx.field(default=None, kw_only=True)


class QOutput(Output):
    """The output of a Q-network: the policy is greedy in `q_values`, and `value` is their maximum.

    - `q_values`: of each action: float, `(actions,)`; `(time, actions)` of a trajectory.
    """

    q_values: Float[Array, "*time actions"]


class DistributionalQOutput(QOutput):
    """The output of a distributional Q-network: `q_values` are the means of the return
    distributions.

    - `return_distribution`: of each action, with `atoms`, `probabilities` and `mean`: a
      [`CategoricalReturns`][lerax_fx.agents.CategoricalReturns] or a
      [`QuantileReturns`][lerax_fx.agents.QuantileReturns] whose arrays begin as `q_values` do.
    """

    return_distribution: Any


def greedy_output(
    q_values: Float[Array, " actions"], action_mask: Bool[Array, " actions"] | None = None
) -> QOutput:
    """The output of the greedy policy for one observation.

    **Arguments:**

    - `action_mask`: whether each action is allowed. The Q-values of others become the lowest finite
      number.
    """
    q_values = mask_values(q_values, action_mask)
    greedy = distrax.Greedy(q_values, dtype=np.int32)
    return QOutput(greedy, q_values.max(), q_values, action_mask=action_mask)


@runtime_checkable
class ActorCritic(Protocol):
    """A policy and a state value, with or without a hidden state: what `rollout`, `evaluate`
    and the on-policy losses ask of an agent. `fx.actor_critic` makes one.

    Policy gradients (`ppo_loss`, `policy_gradient`, `entropy`, `vtrace`) ask for a stochastic
    policy as well: the greedy policy of a Q-network, or a deterministic one, has no gradient.
    """

    def initial_memory(self) -> Tree:
        """The hidden state at the start of an episode: a PyTree of arrays, `None` for none."""
        ...

    def step(self, memory: Tree, observation: Tree, key: Key) -> tuple[Tree, Output]:
        """One step: the hidden state after it, of the same shapes and dtypes, and the
        [`Output`][lerax_fx.agents.Output].
        """
        ...

    def unroll(
        self, memory: Tree, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[Tree, Output]:
        """One trajectory: what repeated `step`s would give, in one `Output` whose arrays begin
        with the axis of time.

        The memory is that before the first step; where `resets[t]` is true, `observations[t]`
        is the first of an episode, and the memory is `initial_memory()` before step `t`.

        The agents of this package give step `t` the key `jax.random.fold_in(key, t)`. Yours may
        use the key otherwise, for instance one draw of a noisy network for the whole
        trajectory: then `unroll` and repeated `step`s agree in distribution.
        """
        ...


@runtime_checkable
class QNetwork(Protocol):
    """As [`ActorCritic`][lerax_fx.agents.ActorCritic], for discrete actions, with an output
    that has `q_values`: DQN, PQN and theirs. `fx.q_agent` and `fx.agents.gru_q_agent` make one.
    """

    def initial_memory(self) -> Tree: ...

    def step(self, memory: Tree, observation: Tree, key: Key) -> tuple[Tree, QOutput]:
        """One step; see [`ActorCritic`][lerax_fx.agents.ActorCritic]."""
        ...

    def unroll(
        self, memory: Tree, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[Tree, QOutput]:
        """One trajectory; see [`ActorCritic`][lerax_fx.agents.ActorCritic]."""
        ...


@runtime_checkable
class DistributionalQNetwork(Protocol):
    """As [`QNetwork`][lerax_fx.agents.QNetwork], with an output that has
    `return_distribution`: C51, QR-DQN. `fx.categorical_q_agent` and `fx.quantile_q_agent` make
    one.
    """

    def initial_memory(self) -> Tree: ...

    def step(self, memory: Tree, observation: Tree, key: Key) -> tuple[Tree, DistributionalQOutput]:
        """One step; see [`ActorCritic`][lerax_fx.agents.ActorCritic]."""
        ...

    def unroll(
        self, memory: Tree, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[Tree, DistributionalQOutput]:
        """One trajectory; see [`ActorCritic`][lerax_fx.agents.ActorCritic]."""
        ...


@runtime_checkable
class ContinuousQ(ActorCritic, Protocol):
    """An [`ActorCritic`][lerax_fx.agents.ActorCritic] without a hidden state that has a policy
    over continuous actions, and Q-functions of an observation and an action: DDPG, TD3, and,
    with `log_temperature`, SAC. `fx.deterministic_actor_critic` and `fx.soft_actor_critic` make
    one.

    - `bounds`: of the actions; `fx.agents.action_bounds(where, space)` reads them off a space.
    - `critic`: the part of the agent that `q_values` uses alone; target networks copy it.
    """

    @property
    def bounds(self) -> ActionBounds: ...

    @property
    def critic(self) -> Tree: ...

    def policy(self, observation: Tree, key: Key) -> distrax.Distribution:
        """The distribution over one action. SAC draws from it by reparametrisation."""
        ...

    def q_values(self, observation: Tree, action: Tree, key: Key) -> Float[Array, " critics"]:
        """Each critic's value of one action."""
        ...


@runtime_checkable
class DiscreteQ(ActorCritic, Protocol):
    """As [`ContinuousQ`][lerax_fx.agents.ContinuousQ], for discrete actions: discrete SAC.
    `fx.soft_actor_critic` makes one.

    - `num_actions`: how many actions there are.
    - `critic`: the part of the agent that `q_values` uses alone; target networks copy it.
    """

    @property
    def num_actions(self) -> int: ...

    @property
    def critic(self) -> Tree: ...

    def policy(self, observation: Tree, key: Key) -> distrax.Distribution:
        """The distribution over the actions, with `probs`."""
        ...

    def q_values(self, observation: Tree, key: Key) -> Float[Array, "critics actions"]:
        """Each critic's value of each action."""
        ...


@runtime_checkable
class HasTemperature(Protocol):
    """What SAC asks for besides [`ContinuousQ`][lerax_fx.agents.ContinuousQ] or
    [`DiscreteQ`][lerax_fx.agents.DiscreteQ]: the log of the temperature, float, `()`.
    """

    @property
    def log_temperature(self) -> Scalar: ...


@runtime_checkable
class HasModel(Protocol):
    """What `dynamics_loss` asks for: a [`Dynamics`][lerax_fx.nde.Dynamics] of the environment.
    `fx.planning.planning_agent` makes such an agent.
    """

    @property
    def model(self) -> Any: ...


class _Family(eqx.Module):
    """What the check knows of a family: its description, its members, the fields of its output,
    and the constructors that make it.
    """

    wanted: str
    members: tuple[str, ...]
    outputs: tuple[str, ...]
    constructors: str


_STEPS = ("initial_memory", "step", "unroll")
_CRITICS = (*_STEPS, "policy", "q_values", "critic")
_FAMILIES: dict[type, _Family] = {
    ActorCritic: _Family(
        "an agent with initial_memory, step and unroll, whose output has distribution and value",
        _STEPS,
        ("distribution", "value"),
        "fx.actor_critic(env, key=key)",
    ),
    QNetwork: _Family(
        "a Q-network: an agent with initial_memory, step and unroll, whose output has q_values",
        _STEPS,
        ("q_values",),
        "fx.q_agent(env, key=key) or fx.agents.gru_q_agent(env, key=key)",
    ),
    DistributionalQNetwork: _Family(
        "a distributional Q-network: an agent with initial_memory, step and unroll, whose output "
        "has return_distribution",
        _STEPS,
        ("q_values", "return_distribution"),
        "fx.categorical_q_agent(env, key=key) or fx.quantile_q_agent(env, key=key)",
    ),
    ContinuousQ: _Family(
        "an agent with policy and q_values(observation, action, key), for continuous actions",
        (*_CRITICS, "bounds"),
        ("distribution", "value"),
        "fx.deterministic_actor_critic(env, key=key) or fx.soft_actor_critic(env, key=key)",
    ),
    DiscreteQ: _Family(
        "an agent with policy and q_values(observation, key), for discrete actions",
        (*_CRITICS, "num_actions"),
        ("distribution", "value"),
        "fx.soft_actor_critic(env, key=key)",
    ),
    HasTemperature: _Family(
        "an agent with log_temperature",
        ("log_temperature",),
        (),
        "fx.soft_actor_critic(env, key=key)",
    ),
    HasModel: _Family(
        "an agent with a model of its environment",
        ("model",),
        (),
        "fx.planning.planning_agent(env, key=key)",
    ),
}


def check_agent_family(where: str, agent: Any, *families: type) -> type:
    """The first of the families whose protocol the agent has.

    **Raises:** `WiringError`, with the constructors of these families, if it belongs to none.
    """
    missing: list[str] = []
    for family in families:
        missing = [name for name in _FAMILIES[family].members if _lacks(agent, name)]
        if not missing:
            return family
    raise _misfit(where, f"a {type(agent).__name__} without {', '.join(missing)}", families)


def check_output(where: str, output: Any, family: type) -> None:
    """Check what a step or a trajectory gave.

    **Raises:** `WiringError` if a field is missing that the family's output has.
    """
    missing = [name for name in _FAMILIES[family].outputs if _lacks(output, name)]
    if missing:
        got = f"one whose output, a {type(output).__name__}, lacks {', '.join(missing)}"
        raise _misfit(where, got, (family,))


def check_pair(where: str, result: Any) -> tuple[Any, Any]:
    """What an agent's `step` or `unroll` gave.

    **Raises:** `WiringError` unless that is a pair, `(memory, output)`.
    """
    if not isinstance(result, tuple) or len(cast("tuple[Any, ...]", result)) != 2:
        number = f" of {len(cast('tuple[Any, ...]', result))}" if isinstance(result, tuple) else ""
        raise WiringError(
            format_error(
                where,
                wanted="(memory, Output)",
                got=f"a {type(result).__name__}{number}",
                fix="Return the memory after it, and fx.agents.Output(distribution, value).",
            )
        )
    return cast("tuple[Any, Any]", result)


def check_q_values(where: str, output: Any, axes: tuple[int, ...]) -> None:
    """Check the Q-values of steps that have these axes.

    **Raises:** `WiringError` if the output has none, or not one for each action of a step.
    """
    check_output(where, output, QNetwork)
    shape = tuple(getattr(output.q_values, "shape", ()))
    if len(shape) != len(axes) + 1 or shape[:-1] != axes:
        raise WiringError(
            format_error(
                f"{where}: agent: q_values",
                wanted="a value for each action, (actions,), for one observation",
                got=f"shape {shape[len(axes) :]}",
                fix="Write the agent for one environment and one step; it is vmapped outside.",
            )
        )


def check_stochastic(where: str, distribution: Any) -> None:
    """**Raises:** `WiringError` for the distribution of a greedy or a deterministic policy."""
    inner: Any = distribution
    while isinstance(inner, distrax.Independent):
        inner = cast(Any, inner).distribution
    if not isinstance(inner, _NOT_TRAINABLE):
        return
    raise WiringError(
        format_error(
            f"{where}: agent",
            wanted="a stochastic policy with parameters to train: this is a policy-gradient loss",
            got=f"one whose distribution is a {type(inner).__name__}, through which no gradient "
            "reaches the agent",
            fix="Make the agent with fx.actor_critic(env, key=key); for a Q-network use "
            "fx.q_loss(), for a deterministic policy fx.dpg_loss().",
        )
    )


def check_distribution(where: str, distribution: Any) -> None:
    """**Raises:** `WiringError` for a distribution that is no PyTree of arrays, or lacks one of
    `sample`, `log_prob`, `entropy` and `mode`.
    """
    missing = [name for name in _METHODS if _not_callable(distribution, name)]
    if missing:
        got = f"a {type(distribution).__name__} without {', '.join(missing)}"
        raise _no_distribution(where, got)
    # What JAX does not know is a leaf of its own.
    if any(not eqx.is_array_like(leaf) for leaf in jax.tree.leaves(distribution)):
        raise WiringError(
            format_error(
                f"{where}: distribution",
                wanted="a PyTree of arrays, which jit, vmap and scan take",
                got=f"a {type(distribution).__name__} that is none, or has other leaves",
                fix="Make it a distrax distribution, or an eqx.Module whose other fields are "
                "eqx.field(static=True).",
            )
        )


_NOT_TRAINABLE: tuple[type, ...] = (
    distrax.Greedy,
    distrax.EpsilonGreedy,
    cast(Any, distrax).Deterministic,
    DeterministicAction,
)
_METHODS = ("sample", "log_prob", "entropy", "mode")


def _no_distribution(where: str, got: str) -> WiringError:
    return WiringError(
        format_error(
            f"{where}: distribution",
            wanted=f"a distribution with {', '.join(_METHODS)}",
            got=got,
            fix="Give a distrax distribution, such as distrax.Categorical(logits=...), or a "
            "PyTree with these methods.",
        )
    )


def _lacks(owner: Any, name: str) -> bool:
    return getattr(owner, name, None) is None


def _not_callable(owner: Any, name: str) -> bool:
    return not callable(getattr(owner, name, None))


def _misfit(where: str, got: str, families: Sequence[type]) -> WiringError:
    records = [_FAMILIES[family] for family in families]
    constructors = " or ".join(dict.fromkeys(record.constructors for record in records))
    return WiringError(
        format_error(
            f"{where}: agent",
            wanted=", or ".join(record.wanted for record in records),
            got=got,
            fix=f"Make it with {constructors}, or add to your agent what it lacks.",
        )
    )


class AbstractActorCritic(eqx.Module):
    """A policy and a value function, which may share a hidden state: a base class for agents
    of the [`ActorCritic`][lerax_fx.agents.ActorCritic] protocol, which says what each method
    has to do. A subclass defines `initial_memory` and `step`.

    Everything is written for one environment; batches are made outside, with `jax.vmap`.
    Distributions leave `vmap` and `scan` as PyTrees whose arrays have the further axes, so
    call a batch of them under `vmap` again: `jax.vmap(lambda d, a: d.log_prob(a))(ds, actions)`.
    """

    @abc.abstractmethod
    def initial_memory(self) -> Tree:
        """The hidden state at the start of an episode: a PyTree of arrays, None for none."""

    @abc.abstractmethod
    def step(self, memory: Tree, observation: Tree, key: Key) -> tuple[Tree, Output]:
        """One step in one environment: the hidden state after it, and the output."""

    def unroll(
        self, memory: Tree, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[Tree, Output]:
        """One trajectory: what one `step` after the other would give, and by default does.
        Step `t` gets the key `jax.random.fold_in(key, t)`.

        **Arguments:**

        - `memory`: as it was before the first step.
        - `observations`: their arrays begin with the axis of time.
        - `resets`: bool, `(time,)`. Whether `observations[t]` begins an episode: then the
          memory becomes `initial_memory()` before step `t`.

        Gives the memory after the last step, and the outputs, `(time, ...)`.
        """
        initial = self.initial_memory()

        def one_step(memory: Tree, inputs: tuple[Tree, Array, Key]) -> tuple[Tree, Output]:
            observation, reset, key = inputs
            memory = jax.tree.map(lambda a, b: jnp.where(reset, a, b), initial, memory)
            return self.step(memory, observation, key)

        keys = step_keys(key, resets.shape[0])
        return jax.lax.scan(one_step, memory, (observations, resets, keys))


class AbstractFeedforward(AbstractActorCritic):
    """An agent without a hidden state: a subclass defines `output`."""

    @abc.abstractmethod
    def output(self, observation: Tree, key: Key) -> Output:
        """The output for one observation."""

    def initial_memory(self) -> None:
        return None

    def step(self, memory: None, observation: Tree, key: Key) -> tuple[None, Output]:
        del memory
        return None, self.output(observation, key)

    def unroll(
        self, memory: None, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[None, Output]:
        del memory
        return None, jax.vmap(self.output)(observations, step_keys(key, resets.shape[0]))


def step_keys(key: Key, steps: int) -> Array:
    """The key of each step of a trajectory."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(steps))
