"""What each family of algorithms asks of an agent, and the one check of it.

An agent is a PyTree (an `eqx.Module`) with the methods of its family; it need not inherit from
anything of this package. All methods are written for one environment and one step or one
trajectory: batches are made outside, with `jax.vmap`.

Keys serve agents that draw random numbers (noisy networks, dropout, posterior sampling, search);
others ignore them, and what is only computed for them is then dead code.
"""

from collections.abc import Sequence
from typing import Any, Protocol, cast

import distrax
import equinox as eqx
import jax
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.output import DistributionalQOutput, Output, QOutput
from lerax_fx.agents.policies.action_bounds import ActionBounds
from lerax_fx.agents.policies.deterministic import DeterministicAction
from lerax_fx.errors import WiringError, explain
from lerax_fx.types import Key, Scalar, Tree


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
        [`Output`][lerax_fx.Output].
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


class QNetwork(Protocol):
    """As [`ActorCritic`][lerax_fx.agents.ActorCritic], for discrete actions, with an output
    that has `q_values`: DQN, PQN and theirs. `fx.q_agent` and `fx.gru_q_agent` make one.
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


class HasTemperature(Protocol):
    """What SAC asks for besides [`ContinuousQ`][lerax_fx.agents.ContinuousQ] or
    [`DiscreteQ`][lerax_fx.agents.DiscreteQ]: the log of the temperature, float, `()`.
    """

    @property
    def log_temperature(self) -> Scalar: ...


class HasModel(Protocol):
    """What `dynamics_loss` asks for: a [`Dynamics`][lerax_fx.Dynamics] of the environment.
    `fx.planning_agent` makes such an agent.
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
        "fx.q_agent(env, key=key) or fx.gru_q_agent(env, key=key)",
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
        "fx.planning_agent(env, key=key)",
    ),
}


def check_agent_family(where: str, agent: Any, *families: type) -> type:
    """The first of the families that the agent belongs to.

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


def check_q_values(where: str, output: Any, axes: tuple[int, ...]) -> None:
    """Check the Q-values of steps that have these axes.

    **Raises:** `WiringError` if the output has none, or not one for each action of a step.
    """
    check_output(where, output, QNetwork)
    shape = tuple(getattr(output.q_values, "shape", ()))
    if len(shape) != len(axes) + 1 or shape[:-1] != axes:
        raise WiringError(
            explain(
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
        explain(
            f"{where}: agent",
            wanted="a stochastic policy with parameters to train: this is a policy-gradient loss",
            got=f"one whose distribution is a {type(inner).__name__}, through which no gradient "
            "reaches the agent",
            fix="Make the agent with fx.actor_critic(env, key=key); for a Q-network use "
            "fx.q_loss(), for a deterministic policy fx.deterministic_policy_loss().",
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
            explain(
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
        explain(
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
        explain(
            f"{where}: agent",
            wanted=", or ".join(record.wanted for record in records),
            got=got,
            fix=f"Make it with {constructors}, or add to your agent what it lacks.",
        )
    )
