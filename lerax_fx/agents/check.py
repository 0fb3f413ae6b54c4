"""Checks that an agent has its methods, and fits its environment."""

from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lerax_fx._core.arguments import suggest_keywords
from lerax_fx._core.arrays import spec
from lerax_fx.agents.encoding import ObservationError
from lerax_fx.agents.normalization import has_statistics
from lerax_fx.agents.protocols import (
    ActorCritic,
    ContinuousQ,
    DiscreteQ,
    check_agent_family,
    check_distribution,
    check_output,
    check_pair,
    check_q_values,
)
from lerax_fx.envs.env import Env
from lerax_fx.envs.registry import make
from lerax_fx.errors import LeraxError, WiringError, format_error
from lerax_fx.spaces import Discrete
from lerax_fx.typing import Key, Tree

# The third observation begins an episode; the trajectory before it is one that goes on.
_RESETS = (False, False, True, False, False)
_RTOL, _ATOL = 1e-3, 1e-4


def _check_masked(where: str, distributions: Any, allowed: Any) -> None:
    """**Raises:** `WiringError` if an action that the mask forbids has a probability above 0."""

    def probabilities(distribution: Any) -> Any:
        actions = jnp.arange(allowed.shape[1])
        return jax.vmap(lambda action: jnp.exp(distribution.log_prob(action)))(actions)

    forbidden = jnp.where(allowed, 0.0, jax.vmap(probabilities)(distributions))
    if bool(jnp.any(forbidden > 0.0)):
        raise WiringError(
            format_error(
                where,
                wanted="probability 0 for every action that the output's action_mask forbids",
                got=f"{float(forbidden.max()):.3g}",
                fix="Put the lowest finite number in place of their logits, as "
                "fx.agents.greedy_output(q_values, action_mask) does.",
            )
        )


def check_actor_critic(where: str, agent: Any, env: Env) -> None:
    """Check an agent against an environment, abstractly: nothing is computed.

    An error of the agent's own code is raised as it is, with a note of where it came up.

    **Raises:** `WiringError` if a method is missing, if the agent cannot take the
    environment's observations, if what it returns is not `(memory, Output)`, or if its actions
    are not of the environment's action space.
    """
    check_agent_family(where, agent, ActorCritic)
    where = f"{where}: agent"
    key = jax.random.key(0)
    observation = jax.eval_shape(lambda key: env.reset(key=key)[1], key)
    memory = jax.eval_shape(agent.initial_memory)

    def step(memory: Tree, observation: Tree, key: Key) -> tuple[Any, ...]:
        memory, output = check_pair(f"{where}: step", agent.step(memory, observation, key))
        _check_one_output(f"{where}: step", output, env)
        action = output.distribution.sample(seed=key)
        return memory, output.value, action, output.distribution.log_prob(action)

    arguments = memory, observation, key
    called = f"{where}: step", agent, env, observation
    next_memory, value, action, log_prob = _traced(called, step, *arguments)
    _check_same(f"{where}: step", "a memory like initial_memory's", memory, next_memory)
    _check_scalar(f"{where}: step: value", value)
    _check_action(f"{where}: actions", action, env)
    _check_scalar(f"{where}: step: log_prob of one action", log_prob)


@suggest_keywords
def check_agent(agent: Any, env: Any, *, key: Key | None = None) -> None:
    """Check an agent's methods against each other and against an environment, as
    [`check_env`][lerax_fx.check_env] does for environments.

    First abstractly, as `rollout` does. Then on five random observations of the environment's
    space: `unroll` has to give what repeated `step`s give, to float tolerance, with an episode
    that begins in the middle; actions have to be of the action space, values and
    log-probabilities scalars without NaN, Q-values one for each action; what an `action_mask`
    forbids has probability 0, and `update_statistics`, if there is one, keeps the agent's shapes.

    `unroll` is called with `key`, step `t` with `jax.random.fold_in(key, t)`. An agent whose
    outputs depend on the key may use it otherwise, so of that only structure, shapes and dtypes
    are compared.

    **Arguments:**

    - `agent`: an agent of one of the protocols of [`fx.agents`][lerax_fx.agents].
    - `env`: an [`Env`][lerax_fx.Env], an id, or a gymnax environment.
    - `key`: for the observations and the agent; by default `jax.random.key(0)`.

    **Raises:** `WiringError`, which names the method and the leaf that differ. An error of the
    agent's own code is raised as it is, with a note of where it came up.
    """
    where, env = "check_agent", make(env)
    check_actor_critic(where, agent, env)
    keys = jax.random.split(jax.random.key(0) if key is None else key, 3)
    observation_key, run_key, other_key = keys
    steps = len(_RESETS)
    sample = jax.vmap(env.observation_space.sample)
    observations = sample(jax.random.split(observation_key, steps))
    resets = jnp.asarray(_RESETS)

    def run(observations: Tree, key: Key) -> tuple[Any, Any]:
        # From a memory that is not the initial one, which an unroll must not ignore.
        first = jax.tree.map(lambda x: x[0], observations)
        memory = agent.step(agent.initial_memory(), first, key)[0]
        unrolled = agent.unroll(memory, observations, resets, key)
        stepped = _repeated_step(agent, memory, observations, resets, key)
        return stepped, check_pair(f"{where}: agent: unroll", unrolled)

    called = f"{where}: agent: unroll", agent, env, observations
    stepped, unrolled = _traced(called, run, observations, run_key)
    parts = ("memory", "outputs")
    for part, expected, found in zip(parts, stepped, unrolled, strict=True):
        wanted = f"{part} like those of repeated steps"
        _check_same(f"{where}: agent: unroll: {part}", wanted, expected, found)
    _check_family_methods(where, agent, env, observations)
    if has_statistics(agent):
        called = f"{where}: agent: update_statistics", agent, env, observations
        # The agent is an argument, for its arrays to be compared and what else it has kept.
        arrays, rest = eqx.partition(agent, eqx.is_array)

        def update(arrays: Tree, observations: Tree) -> Tree:
            updated = eqx.combine(arrays, rest).update_statistics(observations)
            return eqx.filter(updated, eqx.is_array)

        after = _traced(called, update, arrays, observations)
        _check_same(called[0], "an agent like the one before", arrays, after)

    run = jax.jit(run)
    stepped, unrolled = run(observations, run_key)
    if not _uses_key(run(observations, other_key), (stepped, unrolled)):
        for part, expected, found in zip(parts, stepped, unrolled, strict=True):
            _check_close(f"{where}: agent: unroll: {part}", expected, found)
    _check_actions(where, unrolled[1], env, run_key)


def _repeated_step(
    agent: Any, memory: Tree, observations: Tree, resets: Any, key: Key
) -> tuple[Tree, Any]:
    outputs: list[Any] = []
    for t in range(len(_RESETS)):
        observation = jax.tree.map(lambda x, t=t: x[t], observations)
        initial = agent.initial_memory()
        memory = jax.tree.map(lambda a, b, t=t: jnp.where(resets[t], a, b), initial, memory)
        memory, output = agent.step(memory, observation, jax.random.fold_in(key, t))
        outputs.append(output)
    return memory, jax.tree.map(lambda *xs: jnp.stack(xs), *outputs)


def _check_one_output(where: str, output: Any, env: Env) -> None:
    check_output(where.removesuffix(": agent: step"), output, ActorCritic)
    check_distribution(where, output.distribution)
    _check_num_actions(where.removesuffix(": step"), output.distribution, env)
    if getattr(output, "q_values", None) is not None:
        check_q_values(where.removesuffix(": agent: step"), output, ())
        if isinstance(env.action_space, Discrete) and output.q_values.shape != (
            env.action_space.n,
        ):
            raise _wrong_number(where.removesuffix(": step"), env, output.q_values.shape[0])


def _check_num_actions(where: str, distribution: Any, env: Env) -> None:
    """Check that a categorical has as many classes as the environment has actions, which no shape
    shows.
    """
    space, number = env.action_space, getattr(distribution, "num_categories", None)
    if isinstance(space, Discrete) and isinstance(number, int) and number != space.n:
        raise _wrong_number(where, env, number)


def _wrong_number(where: str, env: Env, number: int) -> WiringError:
    return WiringError(
        format_error(
            f"{where}: actions",
            wanted=f"a distribution over {env.name}'s {env.action_space.flat_size} actions",
            got=f"one over {number}",
            fix="Make the agent for this environment's action space, for instance with "
            "fx.actor_critic(env, key=key).",
        )
    )


def _traced(called: tuple[str, Any, Env, Tree], function: Callable[..., Any], *args: Any) -> Any:
    """The abstract result of a function that calls the agent; errors of the agent's own code get a
    note.
    """
    where, agent, env, observation = called
    try:
        return jax.eval_shape(function, *args)
    except ObservationError as error:
        raise WiringError(f"{where}: {error}") from error
    except LeraxError:
        raise
    except Exception as error:
        error.add_note(
            f"lerax_fx: {where}: this came up in the {type(agent).__name__}'s own code, or in "
            f"what it calls, for observations of {env.name}, {spec(observation)}. If it was made "
            "for another environment, make it for this one."
        )
        raise


def _check_same(where: str, wanted: str, expected: Tree, found: Tree) -> None:
    structure, other = jax.tree.structure(expected), jax.tree.structure(found)
    if structure != other:
        raise _differs(where, f"{wanted}, {structure}", f"{other}")
    paths = cast("list[Any]", jax.tree_util.tree_leaves_with_path(expected))
    for (path, one), another in zip(paths, jax.tree.leaves(found), strict=True):
        if one.shape != another.shape or one.dtype != another.dtype:
            at = jax.tree_util.keystr(path)
            raise _differs(where + at, f"{wanted}, {spec(one)}", spec(another))


def _differs(where: str, wanted: str, got: str) -> WiringError:
    fix = "Return the same structure, shapes and dtypes each time."
    return WiringError(format_error(where, wanted=wanted, got=got, fix=fix))


def _check_scalar(where: str, found: Any) -> None:
    if found.shape != () or not jnp.issubdtype(found.dtype, jnp.floating):
        raise WiringError(
            format_error(
                where,
                wanted="a float of shape () for one observation",
                got=spec(found),
                fix="Write the agent for one environment and one step; it is vmapped outside. "
                "Over an action of several numbers take distrax.Independent.",
            )
        )


def _check_action(where: str, action: Tree, env: Env) -> None:
    wanted = jax.eval_shape(env.action_space.sample, jax.random.key(0))
    if not _actions_match(action, wanted):
        raise WiringError(
            format_error(
                where,
                wanted=f"actions of {env.name}'s {env.action_space!r}: {spec(wanted)}",
                got=f"{spec(action)}",
                fix="Make the agent for this environment's action space, for instance with "
                "fx.actor_critic(env, key=key).",
            )
        )


def _actions_match(action: Tree, wanted: Tree) -> bool:
    """Shapes must agree, and integers must meet integers."""
    ours, theirs = jax.tree.leaves(action), jax.tree.leaves(wanted)
    return len(ours) == len(theirs) and all(
        a.shape == b.shape
        and np.issubdtype(a.dtype, np.inexact) == np.issubdtype(b.dtype, np.inexact)
        for a, b in zip(ours, theirs, strict=True)
    )


def _check_family_methods(where: str, agent: Any, env: Env, observations: Tree) -> None:
    """What the losses of agents with a policy and Q-functions call."""
    if not (
        callable(getattr(agent, "policy", None)) and callable(getattr(agent, "q_values", None))
    ):
        return
    family = check_agent_family(where, agent, ContinuousQ, DiscreteQ)

    def call(observation: Tree, key: Key) -> Any:
        distribution = agent.policy(observation, key)
        check_distribution(f"{where}: agent: policy", distribution)
        if family is DiscreteQ:
            return agent.q_values(observation, key)
        return agent.q_values(observation, distribution.mode(), key)

    observation = jax.tree.map(lambda x: x[0], observations)
    called = f"{where}: agent: q_values", agent, env, observation
    found = _traced(called, call, observation, jax.random.key(0))
    ends = (agent.num_actions,) if family is DiscreteQ else ()
    if len(found.shape) != 1 + len(ends) or found.shape[1:] != ends:
        wanted = "(critics, actions)" if family is DiscreteQ else "(critics,)"
        raise WiringError(
            format_error(
                f"{where}: agent: q_values",
                wanted=f"each critic's values, {wanted}",
                got=spec(found),
                fix="Stack the critics' values along the first axis, also of a single critic.",
            )
        )


def _uses_key(one: Tree, other: Tree) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return any(not np.array_equal(_numbers(a), _numbers(b), equal_nan=True) for a, b in leaves)


def _check_close(where: str, expected: Tree, found: Tree) -> None:
    paths = cast("list[Any]", jax.tree_util.tree_leaves_with_path(expected))
    for (path, one), another in zip(paths, jax.tree.leaves(found), strict=True):
        one, another = _numbers(one), _numbers(another)
        if np.allclose(one, another, rtol=_RTOL, atol=_ATOL, equal_nan=True):
            continue
        raise WiringError(
            format_error(
                f"{where}{jax.tree_util.keystr(path)}",
                wanted="what repeated steps give, to float tolerance",
                got=f"a difference of up to {np.nanmax(np.abs(one - another)):.3g} over "
                f"{len(_RESETS)} steps, the third of which begins an episode",
                fix="Make unroll begin with the memory it is given, and with initial_memory() "
                "wherever resets is true; or leave unroll out of a subclass of "
                "fx.agents.AbstractActorCritic, which then repeats step.",
            )
        )


def _numbers(leaf: Any) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    leaf = np.asarray(leaf)
    return leaf if np.iscomplexobj(leaf) else leaf.astype(float)


def _check_actions(where: str, outputs: Any, env: Env, key: Key) -> None:
    """Draw from the distributions of a trajectory, and take their modes."""

    def draw(distribution: Any, key: Key) -> Any:
        action = distribution.sample(seed=key)
        return action, distribution.log_prob(action), distribution.mode(), distribution.entropy()

    keys = jax.random.split(key, len(_RESETS))
    action, log_prob, mode, entropy = jax.vmap(draw)(outputs.distribution, keys)
    for name, taken in (("sample", action), ("mode", mode)):
        one = jax.tree.map(lambda x: x[0], taken)
        _check_action(f"{where}: agent: distribution: {name}", one, env)
        if isinstance(env.action_space, Discrete):
            contained = jax.vmap(env.action_space.contains)(taken)
            if not bool(jnp.all(contained)):
                raise _differs(
                    f"{where}: agent: distribution: {name}",
                    f"actions in {env.action_space!r}",
                    f"{np.asarray(taken).tolist()}",
                )
    allowed = getattr(outputs, "action_mask", None)
    if allowed is not None:
        _check_masked(f"{where}: agent: distribution", outputs.distribution, allowed)
    for name, scalar in (("log_prob", log_prob), ("entropy", entropy), ("value", outputs.value)):
        _check_scalar(f"{where}: agent: {name}", jax.eval_shape(lambda x=scalar: x[0]))
        if bool(jnp.any(jnp.isnan(scalar))):
            raise WiringError(
                format_error(
                    f"{where}: agent: {name}",
                    wanted="numbers",
                    got="NaN",
                    fix="Look for a division by zero or the log of a negative number; "
                    'jax.config.update("jax_debug_nans", True) finds the line.',
                )
            )
