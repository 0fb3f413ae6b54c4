"""The Anakin training loop: a whole run as one pure function."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lerax_fx._core.arguments import check_count, check_key
from lerax_fx._core.arrays import first_difference
from lerax_fx._core.chain import ChainState, as_chain
from lerax_fx._core.hyperparameters import Structure, arrays_of, combine, partition, partition_agent
from lerax_fx._core.scan import vary_over, varying_axes
from lerax_fx._core.transform import Transform
from lerax_fx._core.wiring import check_starts
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.typing import Key, Metrics, Tree

Agent = TypeVar("Agent")

# Where an update draws a lot, there is nothing to gain, and memory to lose.
_MOST_AHEAD = 16  # updates
_BYTES_AHEAD = 2**14


@final
class TrainState(eqx.Module):
    """The state of a run between two updates: everything that is needed to continue it.

    - `agent`: the agent, as trained so far.
    - `algorithm`: the states of all stages.
    - `key`: for what is still to come.

    All leaves but those of the agent are arrays; [`save`][lerax_fx.save] and
    [`load`][lerax_fx.load] write it to a file and read it.
    """

    agent: Tree
    algorithm: Tree
    key: Key


@final
class AnakinLoop:
    """See [`anakin_loop`][lerax_fx.anakin_loop]."""

    def __init__(self, algorithm: Transform[None, Any], num_updates: int):
        self.algorithm = algorithm
        self.num_updates = num_updates
        # Done once, here: what a call costs in Python is paid at every step of a run.
        self._numbers, self._structure = partition(algorithm)

    def __call__(self, agent: Agent, key: Key) -> tuple[Agent, Metrics]:
        """Train for `num_updates` updates.

        **Returns:** the trained agent, and metrics whose arrays begin with the axis
        `num_updates`.

        **Raises:** `WiringError` and `HyperparameterError` before anything is compiled.
        """
        numbers, structure = partition_agent(_checked_agent(agent))
        trained, metrics = _train(
            self._numbers,
            numbers,
            check_key("anakin_loop: key", key),
            self._structure,
            structure,
            self.num_updates,
        )
        return combine(trained, structure), metrics

    def init(self, agent: Tree, key: Key) -> TrainState:
        """The state before the first update. `step`s from here make the same run as calling
        the loop with the same agent and key.
        """
        numbers, structure = partition_agent(_checked_agent(agent))
        trained, algorithm, key = _init(
            self._numbers, numbers, check_key("anakin_loop: key", key), self._structure, structure
        )
        return TrainState(combine(trained, structure), algorithm, key)

    def step(
        self, state: TrainState, num_updates: int = 1, *, donate: bool = False
    ) -> tuple[TrainState, Metrics]:
        """`num_updates` updates from a state.

        Pieces of a single update may round otherwise than longer ones, since XLA compiles them
        differently: PPO's weights differed by 3e-8 after twelve, on a CPU, and by nothing in
        pieces of two or four.

        **Arguments:**

        - `donate`: hand the state's memory over to the next one. `state` cannot be used
          afterwards.

        **Returns:** the next state, and metrics whose arrays begin with `num_updates`.
        """
        check_count("anakin_loop: num_updates", num_updates)
        numbers, structure = partition_agent(_checked_state(state).agent)
        step = _donating_steps if donate else _steps
        carry, metrics = step(
            (numbers, state.algorithm, state.key),
            self._numbers,
            self._structure,
            structure,
            num_updates,
        )
        trained, algorithm, key = carry
        return TrainState(combine(trained, structure), algorithm, key), metrics

    def compile_step(
        self, state: TrainState, num_updates: int = 1, *, donate: bool = False
    ) -> Callable[[TrainState], tuple[TrainState, Metrics]]:
        """[`step`][] compiled ahead of time, for states like this one."""
        check_count("anakin_loop: num_updates", num_updates)
        numbers, structure = partition_agent(_checked_state(state).agent)
        steps = _donating_steps if donate else _steps
        carry = numbers, state.algorithm, state.key
        static = self._structure, structure, num_updates
        compiled = steps.lower(carry, self._numbers, *static).compile()

        shapes = jax.eval_shape(lambda carry: carry, carry)

        def step(state: TrainState) -> tuple[TrainState, Metrics]:
            carry = arrays_of(state.agent, structure), state.algorithm, state.key
            try:
                (trained, algorithm, key), metrics = compiled(carry, self._numbers)
            except TypeError:
                _check_like(shapes, carry)
                raise
            return TrainState(combine(trained, structure), algorithm, key), metrics

        return step


# What is compiled is compiled here, once per structure: an algorithm's numbers and the
# agent's arrays are arguments, everything else about them is static.


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _train(
    numbers: list[Any],
    agent: list[Any],
    key: Key,
    structure: Structure,
    agent_structure: Structure,
    num_updates: int,
) -> tuple[list[Any], Metrics]:
    carry = _begin(numbers, agent, key, structure, agent_structure)
    (agent, _, _), metrics = _advance(carry, numbers, structure, agent_structure, num_updates)
    return agent, metrics


@functools.partial(jax.jit, static_argnums=(3, 4))
def _init(
    numbers: list[Any],
    agent: list[Any],
    key: Key,
    structure: Structure,
    agent_structure: Structure,
) -> Any:
    return _begin(numbers, agent, key, structure, agent_structure)


def _begin(
    numbers: list[Any],
    agent: list[Any],
    key: Key,
    structure: Structure,
    agent_structure: Structure,
) -> Any:
    algorithm = combine(numbers, structure)
    # Under jax.shard_map, a run with its own key or algorithm on each device has its own agent
    # there. One that varies over none would get the sum of all devices' gradients.
    axes = varying_axes((numbers, agent, key))
    agent, key = vary_over(axes, ([jnp.asarray(leaf) for leaf in agent], key))
    key, init_key = jax.random.split(key)
    state = algorithm.init(combine(agent, agent_structure), _no_data, init_key)
    return agent, vary_over(axes, state), key


def _no_data() -> None:
    """What the first stage of an algorithm gets."""
    return None


def _advance(
    carry: Any,
    numbers: list[Any],
    structure: Structure,
    agent_structure: Structure,
    num_updates: int,
) -> tuple[Any, Metrics]:
    algorithm = combine(numbers, structure)

    def update(carry: Any, draws: Tree) -> tuple[Any, Metrics]:
        agent, state = carry
        step = algorithm.update(combine(agent, agent_structure), state, None, draws)
        agent, _structure = partition_agent(step.agent)
        return (agent, step.state), step.metrics

    def piece(carry: Any, _: None) -> tuple[Any, Metrics]:
        agent, state, key = carry
        key, keys = jax.lax.scan(_next_key, key, None, ahead)
        # One after the other: compiled for one update, not for arrays of many.
        draws = jax.lax.map(algorithm.draw_ahead, keys)
        (agent, state), metrics = jax.lax.scan(update, (agent, state), draws, ahead)
        return (agent, state, key), metrics

    ahead = _updates_ahead(algorithm, carry[2], num_updates)
    carry, metrics = jax.lax.scan(piece, carry, None, num_updates // ahead)
    return carry, jax.tree.map(lambda x: jax.lax.collapse(x, 0, 2), metrics)


def _next_key(key: Key, _: None) -> tuple[Key, Key]:
    key, update_key = jax.random.split(key)
    return key, update_key


def _updates_ahead(algorithm: Transform[None, Any], key: Key, num_updates: int) -> int:
    """The number of updates for which random numbers are drawn ahead: as many as fit in the bounds,
    and a divisor of `num_updates`, since the remainder would have to be compiled by itself.
    """
    drawn = jax.tree.leaves(jax.eval_shape(algorithm.draw_ahead, key))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in drawn)
    most = max(1, min(_MOST_AHEAD, _BYTES_AHEAD // max(1, size)))
    return next(count for count in range(most, 0, -1) if num_updates % count == 0)


def _resume(
    carry: Any,
    numbers: list[Any],
    structure: Structure,
    agent_structure: Structure,
    num_updates: int,
) -> tuple[Any, Metrics]:
    agent, _, key = carry
    # Where `_init` made the state, JAX has these shapes already.
    _check_like(_init.eval_shape(numbers, agent, key, structure, agent_structure), carry)
    return _advance(carry, numbers, structure, agent_structure, num_updates)


_steps = jax.jit(_resume, static_argnums=(2, 3, 4))
_donating_steps = jax.jit(_resume, static_argnums=(2, 3, 4), donate_argnums=0)


def _check_like(expected: Any, carry: Any) -> None:
    """**Raises:** `WiringError` for the state of another algorithm, or one of other sizes."""
    for what, wanted, given in zip(("agent", "state", "key"), expected, carry, strict=True):
        names, others = (
            list(tree) if isinstance(tree, ChainState) else [] for tree in (wanted, given)
        )
        if names != others:
            difference = "", f"of the stages {', '.join(names)}", f"of {', '.join(others)}"
        elif (difference := first_difference(wanted, given)) is None:
            continue
        path, before, after = difference
        raise WiringError(
            format_error(
                f"anakin_loop: state: {what}{path}",
                wanted=f"one like that of `init` of this algorithm, {before}",
                got=after,
                fix="Go on with a state of the same algorithm and of the same sizes (num_envs).",
            )
        )


def _checked_state(state: Any) -> TrainState:
    if isinstance(state, TrainState):
        return state
    raise WiringError(
        format_error(
            "anakin_loop: state",
            wanted="a TrainState",
            got=f"a {type(state).__name__}",
            fix="Begin with state = train.init(agent, key), and go on with what step gives.",
        )
    )


def _checked_agent(agent: Any) -> Any:
    if jax.tree.leaves(agent) and not isinstance(agent, jax.Array | np.ndarray):
        return agent
    raise WiringError(
        format_error(
            "anakin_loop: agent",
            wanted="an agent: an equinox module with parameters",
            got=f"a {type(agent).__name__}",
            fix="Call train(agent, key), the agent first.",
        )
    )


def updates_in(total_steps: int, *, num_envs: int, num_steps: int, warmup: int = 0) -> int:
    """The number of updates of `num_envs * num_steps` environment steps in a budget.

    **Raises:** `HyperparameterError` for a budget of less than one update, or of less than the
    `warmup` steps of a replay.
    """
    batch = check_count("num_envs", num_envs) * check_count("num_steps", num_steps)
    if check_count("total_steps", total_steps) < batch:
        raise HyperparameterError(
            format_error(
                "total_steps",
                wanted=f"at least one update: num_envs * num_steps = {batch} steps",
                got=f"{total_steps}",
                fix="Raise total_steps, or lower num_envs or num_steps.",
            )
        )
    if total_steps < check_count("warmup", warmup, at_least=0):
        raise HyperparameterError(
            format_error(
                "total_steps",
                wanted=f"at least warmup, {warmup}: nothing is learnt before",
                got=f"{total_steps}",
                fix="Raise total_steps, or lower warmup.",
            )
        )
    return total_steps // batch


def anakin_loop(algorithm: Transform[None, Any], num_updates: int) -> AnakinLoop:
    """A whole training run as one pure function `(agent, key) -> (agent, metrics)`.

        train = anakin_loop(algorithm, num_updates=60)
        agent, metrics = train(agent, key)
        agents, curves = jax.vmap(train, in_axes=(None, 0))(agent, jax.random.split(key, 256))

    Acting and learning run in one compiled program on one device: the Anakin architecture
    of Hessel et al. 2021, "Podracer architectures for scalable Reinforcement Learning".
    The function compiles itself; `jax.jit(train)` works as well. It can be vmapped over
    seeds and over hyperparameters, and differentiated. Another algorithm of the same
    structure, with other floats in it, costs no compilation.

    The same run in pieces, to be saved and resumed:

        state = train.init(agent, key)
        state, metrics = train.step(state, num_updates=10)

    **Raises:** `WiringError` if `algorithm` is no transform, or wants data that nothing
    before it gives; `HyperparameterError` if `num_updates` is not an int of at least 1.
    """
    algorithm = as_chain(algorithm, "anakin_loop: algorithm")
    check_starts("anakin_loop", algorithm)
    return AnakinLoop(algorithm, check_count("anakin_loop: num_updates", num_updates))
