"""Rollouts: acting in environments."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from lerax_fx._core.arguments import check_count, suggest_keywords
from lerax_fx._core.chain import as_chain
from lerax_fx._core.metrics import absent
from lerax_fx._core.runner import safe_increment
from lerax_fx._core.scan import scan
from lerax_fx._core.transform import Shapes, Step, Transform
from lerax_fx._core.wrapper import Wrapper
from lerax_fx.agents.check import check_actor_critic
from lerax_fx.agents.unroll import agent_key, split_keys
from lerax_fx.data import Rollout
from lerax_fx.envs.check import check_env
from lerax_fx.envs.env import ENVIRONMENT_AXIS, Env
from lerax_fx.envs.registry import make
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.stages.exploration import AbstractExploration
from lerax_fx.typing import Count, Flag, Key, Metrics, Scalar, Tree


@final
class EpisodeStatistics(eqx.Module):
    """Episode returns and lengths in one environment.

    - `running_return`, `running_length`: of the episode so far.
    - `ended`: how many ended since the sums were last cleared.
    - `ended_return`, `ended_length`: sums over these.

    Returns are sums of rewards, without discount.
    """

    running_return: Float[Array, "..."]
    running_length: Int[Array, "..."]
    ended: Int[Array, "..."]
    ended_return: Float[Array, "..."]
    ended_length: Int[Array, "..."]

    @staticmethod
    def start() -> "EpisodeStatistics":
        """Before the first step."""
        none, nothing = jnp.zeros((), jnp.int32), jnp.zeros(())
        return EpisodeStatistics(nothing, none, none, nothing, none)

    def after(self, reward: Scalar, done: Flag) -> "EpisodeStatistics":
        """After one more step."""
        total, length = self.running_return + reward, self.running_length + 1
        return EpisodeStatistics(
            jnp.where(done, 0.0, total),
            jnp.where(done, 0, length),
            self.ended + done,
            self.ended_return + jnp.where(done, total, 0.0),
            self.ended_length + jnp.where(done, length, 0),
        )

    def metrics(self) -> Metrics:
        """Mean return and length over the episodes that ended in a batch of environments,
        NaN where none did.
        """
        ended = self.ended.sum()
        # The divisor is made safe before dividing: a gradient would see 0/0 otherwise.
        divisor = jnp.maximum(ended, 1)

        def mean(total: jax.Array) -> jax.Array:
            each = total.sum() / divisor
            return jnp.where(ended > 0, each, absent((), each.dtype))

        return {
            "episode_return": mean(self.ended_return),
            "episode_length": mean(self.ended_length),
        }

    def cleared(self) -> "EpisodeStatistics":
        """The same with the sums at zero; the running episode goes on."""
        none, nothing = jnp.zeros_like(self.ended), jnp.zeros_like(self.ended_return)
        return EpisodeStatistics(self.running_return, self.running_length, none, nothing, none)


D = TypeVar("D")

_SMALL = 1024  # initial states
_PIECE = 128  # at most


@final
class RunnerState(eqx.Module):
    """The state of one environment and of the agent in it between two steps.

    - `environment`: the environment's state.
    - `observation`: what is to be acted on next.
    - `memory`: the agent's, before it sees that observation.
    - `episodes`: returns and lengths, so far and of those that ended.
    """

    environment: Tree
    observation: Tree
    memory: Tree
    episodes: EpisodeStatistics


@final
class RolloutState(eqx.Module):
    """The runners of all environments, and the number of environment steps so far, which stays at
    `2^31 - 1` once it is there.
    """

    runners: RunnerState
    steps: Count


@final
class RolloutStep(eqx.Module):
    """One transition of one environment; `memory` is the hidden state after it."""

    observation: Tree
    action: Tree
    reward: Tree
    terminated: Tree
    truncated: Tree
    next_observation: Tree
    log_prob: Tree
    value: Tree
    memory: Tree
    distribution: Any
    info: Tree


@final
class StepDraws(eqx.Module):
    """The random draws of one step of one environment: keys for the action, for the transition and
    for the observation after a reset; and the state that a reset would lead to.
    """

    action: Array
    step: Array
    observation: Array
    reset_state: Tree


@final
class RolloutStage(Transform[None, Rollout]):
    """See [`rollout`][lerax_fx.rollout]."""

    env: Env
    num_envs: int = eqx.field(static=True)
    num_steps: int = eqx.field(static=True)
    explore: AbstractExploration | None = None
    keep: tuple[str, ...] = eqx.field(static=True, default=())

    def init(self, agent: Any, data: Shapes, key: Key) -> RolloutState:
        del data
        check_env(self.env)
        check_actor_critic("rollout", agent, self.env)

        def begin(state_key: Key, observation_key: Key) -> RunnerState:
            environment = self.env.initial(key=state_key)
            observation = self.env.observation(environment, key=observation_key)
            return RunnerState(
                environment, observation, agent.initial_memory(), EpisodeStatistics.start()
            )

        keys = (jax.random.split(kind, self.num_envs) for kind in jax.random.split(key))
        runners = jax.vmap(begin, axis_name=ENVIRONMENT_AXIS)(*keys)
        return RolloutState(runners, jnp.zeros((), jnp.int32))

    def update(
        self, agent: Any, state: RolloutState, data: None, key: Key | StepDraws
    ) -> Step[Rollout]:
        del data
        draws = key if isinstance(key, StepDraws) else self.draw_ahead(key)

        def behaviour_policy(output: Any) -> Any:
            return (
                output.distribution if self.explore is None else self.explore(output, state.steps)
            )

        def collect(runner: RunnerState, draws: StepDraws) -> tuple[RunnerState, RolloutStep]:
            return unroll_environment(self.env, agent, behaviour_policy, runner, draws, self.keep)

        over_environments = jax.vmap(collect, in_axes=(0, 1), axis_name=ENVIRONMENT_AXIS)
        runners, trajectories = over_environments(state.runners, draws)
        values = next_values(agent, trajectories, agent_key(draws.action[0, 0], 1))
        fields = vars(trajectories) | {"memory": state.runners.memory, "next_value": values}
        rollout = Rollout(**fields)
        steps = safe_increment(state.steps, self.num_envs * self.num_steps)
        metrics = {"steps": steps, **runners.episodes.metrics()}
        runners = eqx.tree_at(lambda a: a.episodes, runners, runners.episodes.cleared())
        return Step(agent, RolloutState(runners, steps), rollout, metrics)

    def draw_ahead(self, key: Key) -> StepDraws:
        """Random draws that depend only on the key, `(time, environments)`, which is how a scan
        takes it.

        Drawn for all steps at once: one large operation outside of the scan instead of many
        small ones within. And by kind: where the environment has no use for one, its keys
        are dead code.
        """
        shape = self.num_steps, self.num_envs
        *kinds, reset_state = jax.random.split(key, 4)
        # Vectors, cut to shape afterwards: those XLA compiles in half the time.
        action, step, observation = (
            jax.random.split(kind, math.prod(shape)).reshape(*shape, *kind.shape) for kind in kinds
        )
        return StepDraws(action, step, observation, self._initial_states(reset_state, shape))

    def _initial_states(self, key: Key, shape: tuple[int, int]) -> Tree:
        """Reset states, one for each step; in pieces if they are few.

        Few of them XLA's CPU backend would spread over threads for ten tiny loops each, and
        waking those takes longer than the work: 0.8 ms of the 3.2 that an update takes
        (4 environments of CartPole, 128 steps, on a busy machine) against 0.1 in pieces
        that it leaves on one thread.
        """
        count = math.prod(shape)
        pieces = 1 if count > _SMALL else math.ceil(count / _PIECE)
        keys = jax.random.split(key, pieces * math.ceil(count / pieces))

        def initial(key: Key) -> Tree:
            return self.env.initial(key=key)

        draw = jax.vmap(initial, axis_name=ENVIRONMENT_AXIS)
        if pieces == 1:
            states = draw(keys)
        else:
            states = jax.lax.map(draw, keys.reshape(pieces, -1, *key.shape))
            states = jax.tree.map(lambda x: jax.lax.collapse(x, 0, 2), states)
        return jax.tree.map(lambda x: x[:count].reshape(*shape, *x.shape[1:]), states)


def unroll_environment(
    env: Env,
    agent: Any,
    behaviour_policy: Callable[[Any], Any],
    runner: RunnerState,
    draws: StepDraws,
    keep: tuple[str, ...] = (),
) -> tuple[RunnerState, RolloutStep]:
    """Act in one environment with auto-reset, one step for each of `draws`, by the behaviour policy
    that `behaviour_policy` makes of the agent's outputs.
    """

    def one_step(runner: RunnerState, draws: StepDraws) -> tuple[RunnerState, RolloutStep]:
        memory, output = agent.step(runner.memory, runner.observation, agent_key(draws.action))
        distribution = behaviour_policy(output)
        action = distribution.sample(seed=draws.action)
        log_prob = distribution.log_prob(action)
        timestep = env.advance(runner.environment, action, key=draws.step)
        timestep = env.auto_reset(timestep, draws.reset_state, key=draws.observation)
        done = timestep.terminated | timestep.truncated
        rollout_step = RolloutStep(
            runner.observation,
            action,
            timestep.reward,
            timestep.terminated,
            timestep.truncated,
            timestep.next_observation,
            log_prob,
            output.value,
            memory,
            _checked_distribution(distribution) if "distribution" in keep else None,
            timestep.info if "info" in keep else None,
        )
        episode_reward = timestep.info.get("unscaled_reward", timestep.reward)
        next_actor = RunnerState(
            timestep.state,
            timestep.observation,
            select_on_done(done, agent.initial_memory(), memory),
            runner.episodes.after(episode_reward, done),
        )
        return next_actor, rollout_step

    return scan(one_step, runner, draws)


def _checked_distribution(distribution: Any) -> Any:
    """**Raises:** `WiringError` for one that is no PyTree of arrays."""
    leaves = jax.tree.leaves(distribution)
    if leaves and all(eqx.is_array_like(leaf) for leaf in leaves):
        return distribution
    raise WiringError(
        format_error(
            "rollout: keep: 'distribution'",
            wanted="distributions that are PyTrees of arrays, as distrax's are",
            got=f"a {type(distribution).__name__}",
            fix="Make the distribution an eqx.Module, or do not keep it.",
        )
    )


def select_on_done(done: Any, initial: Tree, otherwise: Tree) -> Tree:
    """`initial` if the episode ended, else the other, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(done, a, b), initial, otherwise)


def next_values(agent: Any, trajectories: RolloutStep, key: Key) -> Any:
    """Bootstrap values: of each `next_observation`, `(environments, time)`; 0 if terminated.

    Within an episode that is the next step's value, known already. What has to be
    evaluated is the last step, and the steps that were truncated: seldom any.
    """

    def value_of(memory: Tree, observation: Tree, key: Key) -> Any:
        return agent.step(memory, observation, key)[1].value

    def all_values() -> Any:
        keys = split_keys(agent_key(key), trajectories.reward.shape)
        values = jax.vmap(jax.vmap(value_of))(
            trajectories.memory, trajectories.next_observation, keys
        )
        return jnp.where(trajectories.truncated, values, following)

    last_memory, last_observation = jax.tree.map(
        lambda x: x[:, -1], (trajectories.memory, trajectories.next_observation)
    )
    last_keys = split_keys(key, trajectories.reward.shape[:1])
    last = jax.vmap(value_of)(last_memory, last_observation, last_keys)
    following = jnp.concatenate([trajectories.value[:, 1:], last[:, None]], axis=1)
    cut_short = jnp.any(trajectories.truncated[:, :-1])
    values = jax.lax.cond(cut_short, all_values, lambda: following)
    return jnp.where(trajectories.terminated, 0.0, values)


@suggest_keywords
def rollout(
    env: Any,
    *,
    num_envs: int,
    num_steps: int,
    explore: AbstractExploration | None = None,
    keep: Sequence[str] = (),
) -> RolloutStage:
    """Collect trajectories with the agent's policy.

    Each update goes on where the last one stopped, in `num_envs` copies of the environment
    for `num_steps` steps; episodes that end are followed by new ones. The arrays of the
    [`Rollout`][lerax_fx.data.Rollout] begin with the axes `(num_envs, num_steps)`.

    **Arguments:**

    - `env`: an [`Env`][lerax_fx.Env], the id of a gymnax environment, or one of its
      environment objects.
    - `explore`: the behaviour policy, where it is not the agent's, for instance
      [`epsilon_greedy`][lerax_fx.epsilon_greedy]; `log_prob` is of what was done then.
    - `keep`: what else of each step to keep: `"distribution"`, the behaviour policy's
      distribution, and `"info"`, what the environment reported.

    Metrics: `steps`, environment steps so far, of all copies (after `2^31 - 1` of them it
    stays there, and so do schedules over steps); `episode_return` and `episode_length`,
    means over the episodes that ended in this update (NaN if none did).

    **Raises:** `HyperparameterError` for a count below 1, or another name to keep;
    `EnvironmentSetupError` for an
    unknown environment; `WiringError`, when traced, if the environment breaks its contract
    (see [`check_env`][lerax_fx.check_env]), if the agent lacks what is asked of
    it, or does not fit the environment's spaces.
    """
    return RolloutStage(
        make(env),
        check_count("rollout: num_envs", num_envs),
        check_count("rollout: num_steps", num_steps),
        _checked_exploration(explore),
        _checked_keep(keep),
    )


def _checked_keep(keep: Any) -> tuple[str, ...]:
    names = (keep,) if isinstance(keep, str) else keep
    if isinstance(names, Sequence) and all(name in ("distribution", "info") for name in names):
        return tuple(names)
    raise HyperparameterError(
        format_error(
            "rollout: keep",
            wanted="names among 'distribution' and 'info'",
            got=f"{keep!r}",
            fix='Pass for instance keep=("distribution",).',
        )
    )


def _checked_exploration(explore: Any) -> AbstractExploration | None:
    if explore is None or isinstance(explore, AbstractExploration):
        return explore
    raise WiringError(
        format_error(
            "rollout: explore",
            wanted="an exploration",
            got=f"{explore!r}",
            fix="Pass for instance fx.epsilon_greedy(0.1).",
        )
    )


@final
class LaggedState(eqx.Module):
    """The behaviour policy's arrays, the number of updates, and the rollout's state."""

    behaviour: Tree
    updates: Count
    inner: Tree


@final
class Lagged(Wrapper[None, D]):
    """See [`lagged`][lerax_fx.lagged]."""

    period: int = eqx.field(static=True)

    def init(self, agent: Tree, data: Shapes, key: Key) -> LaggedState:
        behaviour = eqx.filter(agent, eqx.is_array)
        inner = self.inner.init(agent, data, key)
        return LaggedState(behaviour, jnp.zeros((), jnp.int32), inner)

    def draw_ahead(self, key: Key) -> Tree:
        return self.inner.draw_ahead(key)

    def update(self, agent: Tree, state: LaggedState, data: None, key: Tree) -> Step[D]:
        arrays, fixed = eqx.partition(agent, eqx.is_array)
        behaviour = optax.periodic_update(arrays, state.behaviour, state.updates, self.period)
        copy = eqx.combine(behaviour, fixed)
        step = self.inner.update(copy, state.inner, data, key)
        _check_unchanged(copy, step.agent)
        updates = (state.updates + 1) % self.period
        return Step(agent, LaggedState(behaviour, updates, step.state), step.out, step.metrics)


def _check_unchanged(before: Tree, after: Tree) -> None:
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    if any(one is not other for one, other in pairs):
        raise WiringError(
            format_error(
                "lagged: inner",
                wanted="stages that leave the agent as it is: they get a copy of it",
                got="one that changes it, which would be lost",
                fix="Put what learns behind lagged(...), not within it.",
            )
        )


def lagged(inner: Transform[None, D], *, period: int) -> Lagged[D]:
    """A rollout by a behaviour policy of some updates ago.

        chain(lagged(rollout(env, ...), period=4), vtrace(), minimize(...))

    The behaviour policy is a copy of the agent, replaced in updates 0, `period`, 2 `period`, ...:
    it is at most `period - 1` updates old, as an actor's is in Espeholt et al. 2018, "IMPALA:
    Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures", section 3.
    Values and log-probabilities of the data are the behaviour policy's.

    **Raises:** `HyperparameterError` if `period` is not an int of at least 1; `WiringError` if
    `inner` is no stage that starts an algorithm, or, when traced, if it changes the agent.
    """
    return Lagged(as_chain(inner, "lagged: inner"), check_count("lagged: period", period))
