"""Acting in environments: the stage that most algorithms start with."""

import math
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from lerax_fx.core.arguments import known_names
from lerax_fx.core.bounds import check_count
from lerax_fx.core.saturating import saturating_sum
from lerax_fx.core.scan import scan
from lerax_fx.core.transform import Step, Transform
from lerax_fx.data.rollout import Rollout
from lerax_fx.environments.env import ENVIRONMENT_AXIS, Env
from lerax_fx.environments.make import make
from lerax_fx.errors import WiringError, explain
from lerax_fx.exploration.exploration import AbstractExploration
from lerax_fx.loops.check_agent import check_actor_critic
from lerax_fx.loops.episodes import Episodes
from lerax_fx.types import Count, Key, Tree

_SMALL = 1024  # initial states
_PIECE = 128  # at most


@final
class Actor(eqx.Module):
    """One environment between two steps, and who acts in it.

    - `environment`: the environment's state.
    - `observation`: what is to be acted on next.
    - `memory`: the agent's, before it sees that observation.
    - `episodes`: returns and lengths, so far and of those that ended.
    """

    environment: Tree
    observation: Tree
    memory: Tree
    episodes: Episodes


@final
class RolloutState(eqx.Module):
    """`actors` are batched over environments; `steps` counts those of all of them, and stays
    at `2^31 - 1` once it is there.
    """

    actors: Actor
    steps: Count


@final
class Moment(eqx.Module):
    """What one step of one environment leaves behind; `memory` is the one after it."""

    observation: Tree
    action: Tree
    reward: Tree
    terminated: Tree
    truncated: Tree
    next_observation: Tree
    log_prob: Tree
    value: Tree
    memory: Tree


@final
class Chance(eqx.Module):
    """What one step of one environment draws: keys for the action, for the transition and
    for the observation after a reset; and the state that a reset would lead to.
    """

    action: Array
    step: Array
    observation: Array
    fresh: Tree


@final
class Collect(Transform[None, Rollout]):
    """See [`rollout`][lerax_fx.rollout]."""

    env: Env
    num_envs: int = eqx.field(static=True)
    num_steps: int = eqx.field(static=True)
    explore: AbstractExploration | None = None

    @property
    def name(self) -> str:
        return "rollout"

    def init(self, agent: Any, key: Key) -> RolloutState:
        check_actor_critic("rollout: agent", agent, self.env)

        def begin(state_key: Key, observation_key: Key) -> Actor:
            environment = self.env.initial(key=state_key)
            observation = self.env.observation(environment, key=observation_key)
            return Actor(environment, observation, agent.initial_memory(), Episodes.start())

        keys = (jax.random.split(kind, self.num_envs) for kind in jax.random.split(key))
        actors = jax.vmap(begin, axis_name=ENVIRONMENT_AXIS)(*keys)
        return RolloutState(actors, jnp.zeros((), jnp.int32))

    def update(
        self, agent: Any, state: RolloutState, data: None, key: Key | Chance
    ) -> Step[Rollout]:
        del data
        chances = key if isinstance(key, Chance) else self.draw_ahead(key)

        def behave(distribution: Any) -> Any:
            return distribution if self.explore is None else self.explore(distribution, state.steps)

        def collect(actor: Actor, chances: Chance) -> tuple[Actor, Moment]:
            return act_for(self.env, agent, behave, actor, chances)

        over_environments = jax.vmap(collect, in_axes=(0, 1), axis_name=ENVIRONMENT_AXIS)
        actors, moments = over_environments(state.actors, chances)
        rollout = Rollout(
            moments.observation,
            moments.action,
            moments.reward,
            moments.terminated,
            moments.truncated,
            moments.next_observation,
            moments.log_prob,
            moments.value,
            next_values(agent, moments),
            state.actors.memory,
        )
        steps = saturating_sum(state.steps, self.num_envs * self.num_steps)
        metrics = {"steps": steps, **actors.episodes.metrics()}
        actors = eqx.tree_at(lambda a: a.episodes, actors, actors.episodes.cleared())
        return Step(agent, RolloutState(actors, steps), rollout, metrics)

    def draw_ahead(self, key: Key) -> Chance:
        """What chance decides, `(time, environments)`, which is how a scan takes it.

        Drawn for all steps at once: one large operation outside of the scan instead of many
        small ones within. And by kind: where the environment has no use for one, its keys
        are dead code.
        """
        shape = self.num_steps, self.num_envs
        *kinds, fresh = jax.random.split(key, 4)
        # Vectors, cut to shape afterwards: those XLA compiles in half the time.
        action, step, observation = (
            jax.random.split(kind, math.prod(shape)).reshape(*shape, *kind.shape) for kind in kinds
        )
        return Chance(action, step, observation, self._initial_states(fresh, shape))

    def _initial_states(self, key: Key, shape: tuple[int, int]) -> Tree:
        """As many as there are steps, in pieces if they are few.

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


def act_for(
    env: Env, agent: Any, behave: Callable[[Any], Any], actor: Actor, chances: Chance
) -> tuple[Actor, Moment]:
    """Act in one environment, a step for each of `chances`, in a new episode after each end;
    by the agent's distributions as `behave` changes them.
    """

    def one_step(actor: Actor, chance: Chance) -> tuple[Actor, Moment]:
        memory, distribution, value = agent.step(actor.memory, actor.observation)
        distribution = behave(distribution)
        action = distribution.sample(seed=chance.action)
        log_prob = distribution.log_prob(action)
        timestep = env.advance(actor.environment, action, key=chance.step)
        timestep = env.auto_reset(timestep, chance.fresh, key=chance.observation)
        done = timestep.terminated | timestep.truncated
        moment = Moment(
            actor.observation,
            action,
            timestep.reward,
            timestep.terminated,
            timestep.truncated,
            timestep.next_observation,
            log_prob,
            value,
            memory,
        )
        earned = timestep.info.get("unscaled_reward", timestep.reward)
        next_actor = Actor(
            timestep.state,
            timestep.observation,
            where_done(done, agent.initial_memory(), memory),
            actor.episodes.after(earned, done),
        )
        return next_actor, moment

    return scan(one_step, actor, chances)


def where_done(done: Any, initial: Tree, otherwise: Tree) -> Tree:
    """`initial` if the episode ended, else the other, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(done, a, b), initial, otherwise)


def next_values(agent: Any, moments: Moment) -> Any:
    """The agent's value of each `next_observation`, `(environments, time)`; 0 if terminated.

    Within an episode that is the next step's value, known already. What has to be
    evaluated is the last step, and the steps that were truncated: seldom any.
    """

    def value_of(memory: Tree, observation: Tree) -> Any:
        return agent.step(memory, observation)[2]

    def all_values() -> Any:
        values = jax.vmap(jax.vmap(value_of))(moments.memory, moments.next_observation)
        return jnp.where(moments.truncated, values, following)

    last_memory, last_observation = jax.tree.map(
        lambda x: x[:, -1], (moments.memory, moments.next_observation)
    )
    last = jax.vmap(value_of)(last_memory, last_observation)
    following = jnp.concatenate([moments.value[:, 1:], last[:, None]], axis=1)
    cut_short = jnp.any(moments.truncated[:, :-1])
    values = jax.lax.cond(cut_short, all_values, lambda: following)
    return jnp.where(moments.terminated, 0.0, values)


@known_names
def rollout(
    env: Any, *, num_envs: int, num_steps: int, explore: AbstractExploration | None = None
) -> Collect:
    """Act with the agent's policy; give the trajectories.

    Each update goes on where the last one stopped, in `num_envs` copies of the environment
    for `num_steps` steps; episodes that end are followed by new ones. The arrays of the
    [`Rollout`][lerax_fx.Rollout] begin with the axes `(num_envs, num_steps)`.

    **Arguments:**

    - `env`: an [`Env`][lerax_fx.Env], the id of a gymnax environment, or one of its
      environment objects.
    - `explore`: how to act otherwise than the policy would, for instance
      [`epsilon_greedy`][lerax_fx.epsilon_greedy]; `log_prob` is of what was done then.

    Metrics: `steps`, environment steps so far, of all copies (after `2^31 - 1` of them it
    stays there, and so do schedules over steps); `episode_return` and `episode_length`,
    means over the episodes that ended in this update (NaN if none did).

    **Raises:** `HyperparameterError` for a count below 1; `EnvironmentSetupError` for an
    unknown environment; `WiringError`, when traced, if the agent lacks what is asked of
    it, or does not fit the environment's spaces.
    """
    return Collect(
        make(env),
        check_count("rollout: num_envs", num_envs),
        check_count("rollout: num_steps", num_steps),
        _checked_exploration(explore),
    )


def _checked_exploration(explore: Any) -> AbstractExploration | None:
    if explore is None or isinstance(explore, AbstractExploration):
        return explore
    raise WiringError(
        explain(
            "rollout: explore",
            wanted="a way to explore",
            got=f"{explore!r}",
            fix="Pass for instance fx.epsilon_greedy(0.1).",
        )
    )
