"""Normalisation within an agent: of its observations, and of hidden layers."""

from collections.abc import Callable
from typing import Any, Protocol, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lerax_fx._core.arguments import check_constant, check_count
from lerax_fx.agents.packing import Packed
from lerax_fx.agents.protocols import ActorCritic, Output, check_agent_family
from lerax_fx.data import Timed
from lerax_fx.envs.registry import spaces_of
from lerax_fx.envs.timed_space import TimedSpace
from lerax_fx.errors import WiringError, format_error
from lerax_fx.spaces import Box, Dict, Space, Tuple
from lerax_fx.statistics import NonTrainable, RunningStatistics
from lerax_fx.typing import Interval, Key, Tree


class HasStatistics(Protocol):
    """What [`update_statistics`][lerax_fx.update_statistics] asks of an agent."""

    def update_statistics(self, observations: Tree) -> Any:
        """The agent after it has seen these observations, whose arrays begin with one axis, over
        all environments and steps; of the same structure, shapes and dtypes.
        """
        ...


def with_updated_statistics(where: str, agent: Any, observations: Tree) -> Any:
    """An agent, packed or not, after it has seen a batch of observations.

    **Raises:** `WiringError` for an agent that has no statistics.
    """
    if isinstance(agent, Packed):
        updated = with_updated_statistics(where, agent.agent, observations)
        return Packed(tuple(jax.tree.leaves(updated)), agent.structure)
    if not has_statistics(agent):
        raise WiringError(
            format_error(
                f"{where}: agent",
                wanted="an agent that keeps statistics: a method update_statistics(observations)",
                got=f"a {type(agent).__name__} without",
                fix="Make it with fx.agents.normalize_observations(agent, env), or leave this "
                "stage out.",
            )
        )
    return agent.update_statistics(observations)


def has_statistics(agent: Any) -> bool:
    """Whether an agent has a method `update_statistics`."""
    return callable(getattr(agent, "update_statistics", None))


@final
class NormalizedAgent(eqx.Module):
    """See [`normalize_observations`][lerax_fx.agents.normalize_observations].

    - `agent`: what sees the normalised observations. Its fields and further methods are there
      under the same names.
    - `statistics`: [`RunningStatistics`][lerax_fx.agents.RunningStatistics] of each part of an
      observation that is normalised, `None` for the others, in the structure of an observation.
    - `clip`, `epsilon`: constants.
    """

    agent: Any
    statistics: Tree
    clip: float = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)

    def initial_memory(self) -> Tree:
        return self.agent.initial_memory()

    def step(self, memory: Tree, observation: Tree, key: Key) -> tuple[Tree, Output]:
        return self.agent.step(memory, self.normalized(observation), key)

    def unroll(
        self, memory: Tree, observations: Tree, resets: Bool[Array, " time"], key: Key
    ) -> tuple[Tree, Output]:
        return self.agent.unroll(memory, jax.vmap(self.normalized)(observations), resets, key)

    def update_statistics(self, observations: Tree) -> "NormalizedAgent":
        """With a batch of observations more; of the agent within as well, if it has any."""
        agent = self.agent
        if has_statistics(agent):
            agent = agent.update_statistics(jax.vmap(self.normalized)(observations))

        def update(statistics: RunningStatistics | None, batch: Array) -> RunningStatistics | None:
            if statistics is None:
                return None
            return statistics.update(jax.lax.stop_gradient(batch))

        statistics = _map_parts(update, self.statistics, observations)
        return NormalizedAgent(agent, statistics, self.clip, self.epsilon)

    def normalized(self, observation: Tree) -> Tree:
        """One observation as the agent within sees it."""

        def normalize(statistics: RunningStatistics | None, part: Array) -> Array:
            if statistics is None:
                return part
            fixed = jax.lax.stop_gradient(statistics)
            normal = fixed.normalize(part, self.epsilon)
            return jnp.clip(normal, -self.clip, self.clip).astype(part.dtype)

        return _map_parts(normalize, self.statistics, observation)

    def __getattr__(self, name: str) -> Any:
        # Called for what is not found above; also before there is an agent, while JAX makes one.
        if name.startswith("__") or name in ("agent", "statistics", "clip", "epsilon"):
            raise AttributeError(name)
        found = getattr(self.agent, name)
        return self._of_normalized(found) if name in ("policy", "q_values") else found

    def _of_normalized(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """A method whose first argument is an observation."""

        def called(observation: Tree, *arguments: Any) -> Any:
            return method(self.normalized(observation), *arguments)

        return called


@final
class MovingAverages(NonTrainable):
    """Moving averages of the mean and the variance of a layer's inputs."""

    mean: Float[Array, " size"]
    variance: Float[Array, " size"]


@final
class BatchNorm(eqx.Module):
    """Batch normalisation by moving averages of the batches' mean and variance, then a learnt scale
    and shift: Ioffe & Szegedy 2015, "Batch Normalization", algorithm 2.

    The averages normalise in acting, in losses and in targets alike, and no gradient goes through
    them: a row's output does not depend on the others, so agents stay functions of one
    observation, and `unroll` is what repeated `step`s give. This is where it differs from the
    paper, which trains with the statistics of the batch itself (algorithm 1). The averages start
    at 0 and 1.

        def update_statistics(self, observations):   # called by fx.update_statistics()
            norm = self.norm.update(jax.vmap(self.first)(observations))
            return eqx.tree_at(lambda agent: agent.norm, self, norm)

    **Arguments:**

    - `size`: of the vectors.
    - `momentum`: how much of the averages stays at an update; in [0, 1].
    - `epsilon`: added to the variance; at least 0.
    """

    averages: MovingAverages
    scale: Float[Array, " size"]
    shift: Float[Array, " size"]
    momentum: float = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)

    def __init__(self, size: int, *, momentum: float = 0.99, epsilon: float = 1e-5):
        size = check_count("BatchNorm: size", size)
        self.averages = MovingAverages(jnp.zeros(size), jnp.ones(size))
        self.scale = jnp.ones(size)
        self.shift = jnp.zeros(size)
        self.momentum = check_constant("BatchNorm: momentum", momentum, Interval(0.0, 1.0))
        self.epsilon = check_constant("BatchNorm: epsilon", epsilon, Interval(0.0))

    def __call__(self, x: Float[Array, " size"]) -> Float[Array, " size"]:
        """One vector in, one vector out."""
        averages = jax.lax.stop_gradient(self.averages)
        normal = (x - averages.mean) / jnp.sqrt(averages.variance + self.epsilon)
        return normal * self.scale + self.shift

    def update(self, batch: Float[Array, "batch size"]) -> "BatchNorm":
        """With the averages after one more batch of inputs."""
        batch = jax.lax.stop_gradient(batch)

        def moved(old: Array, new: Array) -> Array:
            return self.momentum * old + (1.0 - self.momentum) * new

        averages = MovingAverages(
            moved(self.averages.mean, batch.mean(axis=0)),
            moved(self.averages.variance, batch.var(axis=0)),
        )
        return eqx.tree_at(lambda norm: norm.averages, self, averages)


def _is_part(node: Any) -> bool:
    return node is None or isinstance(node, RunningStatistics)


def _map_parts(function: Callable[..., Any], statistics: Tree, observation: Tree) -> Any:
    """`function` of the statistics of each part of an observation and the part."""
    return jax.tree.map(function, statistics, observation, is_leaf=_is_part)


def normalize_observations(
    agent: Any, env: Any, *, clip: float = 10.0, epsilon: float = 1e-8
) -> NormalizedAgent:
    """An agent whose observations are normalised by their running mean and variance, as
    `VecNormalize` of OpenAI's baselines does.

        agent = fx.agents.normalize_observations(fx.actor_critic(env, key=key), env)
        algorithm = fx.chain(fx.rollout(env, ...), fx.gae(), fx.minibatch(...),
                             fx.update_statistics())

    The statistics are arrays of the agent: [`update_statistics`][lerax_fx.update_statistics]
    updates them, and no other stage; acting, evaluating, saving and vmapping over seeds take them
    along. Optimisers and gradients leave them alone. Before the first update observations are only
    clipped. A target network normalises by the agent's own statistics as they are now.

    Numbers are normalised entry by entry, in each `Box` of floats, also within `Dict`, `Tuple` and
    `TimedSpace`, whose `dt` is left as it is; so is everything else: integers, bools, bytes. An
    entry that is infinite is clipped, a NaN stays one, and neither is counted.

    **Arguments:**

    - `agent`: an agent of any family, made for the spaces of `env`. One with a model scales its
      observations itself.
    - `env`: an [`Env`][lerax_fx.Env] or whatever [`make`][lerax_fx.make] takes; or a pair
      `(observation_space, action_space)`.
    - `clip`: the largest magnitude that is let through, in standard deviations; above 0.
    - `epsilon`: added to the variance; at least 0.

    **Raises:** `WiringError` for observations without a `Box` of floats, for an agent that is
    none or has a model; `HyperparameterError` for a number out of range.
    """
    where = "normalize_observations"
    check_agent_family(where, agent, ActorCritic)
    if getattr(agent, "model", None) is not None:
        raise WiringError(
            format_error(
                f"{where}: agent",
                wanted="an agent without a model of its environment",
                got=f"a {type(agent).__name__}, whose model predicts observations as they are",
                fix="Leave normalize_observations out: a model scales observations by their "
                "bounds.",
            )
        )
    observations = spaces_of(env)[0]
    statistics = _statistics_for(observations)
    if not jax.tree.leaves(statistics):
        raise WiringError(
            format_error(
                f"{where}: env",
                wanted="observations with numbers to normalise: a Box of floats",
                got=f"{observations!r}",
                fix="Leave normalize_observations out: agents bring bytes to [0, 1] and make "
                "integers one-hot.",
            )
        )
    clip = check_constant(f"{where}: clip", clip, Interval(0.0, open_low=True))
    epsilon = check_constant(f"{where}: epsilon", epsilon, Interval(0.0))
    return NormalizedAgent(agent, statistics, clip, epsilon)


def _statistics_for(space: Space) -> Tree:
    """Statistics of nothing yet, in the structure of the space's elements."""
    if isinstance(space, Box) and jnp.issubdtype(space.dtype, jnp.floating):
        return RunningStatistics.start(space.shape)
    if isinstance(space, TimedSpace):
        whole: Any = Timed(_statistics_for(space.value), jnp.zeros(()))
        return eqx.tree_at(lambda timed: timed.dt, whole, None)
    if isinstance(space, Dict):
        return {name: _statistics_for(part) for name, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(_statistics_for(part) for part in space.spaces)
    return None
