"""Evaluation: episode returns of an agent."""

import functools
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lerax_fx._core.arguments import check_count, check_flag, suggest_keywords
from lerax_fx._core.hyperparameters import Structure, combine, partition, partition_agent
from lerax_fx._core.scan import vary_over, varying_axes
from lerax_fx.agents.check import check_actor_critic
from lerax_fx.agents.unroll import agent_key
from lerax_fx.envs.check import check_env
from lerax_fx.envs.env import ENVIRONMENT_AXIS
from lerax_fx.envs.registry import make
from lerax_fx.typing import Key, Tree


@final
class Evaluation(eqx.Module):
    """Returns and lengths of the episodes of an evaluation.

    - `episode_return`: the sum of rewards of each, without discount.
    - `episode_length`: the steps of each.
    - `finished`: whether the episode came to its end within the steps allowed.
    """

    episode_return: Float[Array, " episodes"]
    episode_length: Int[Array, " episodes"]
    finished: Bool[Array, " episodes"]


@suggest_keywords
def evaluate(
    env: Any,
    agent: Any,
    key: Key,
    *,
    num_episodes: int = 128,
    greedy: bool = True,
    max_steps: int = 10_000,
) -> Evaluation:
    """Evaluate an agent: one episode in each of `num_episodes` environments.

    It compiles itself, once for each structure of environment and agent: another key, other
    parameters of the agent or other floats of the environment compile nothing.

    **Arguments:**

    - `env`: an [`Env`][lerax_fx.Env], an id, or a gymnax environment.
    - `greedy`: act with the mode of the policy, instead of sampling from it.
    - `max_steps`: where an episode is given up that does not end by itself.

    **Raises:** as [`rollout`][lerax_fx.rollout].
    """
    environment = make(env)
    num_episodes = check_count("evaluate: num_episodes", num_episodes)
    max_steps = check_count("evaluate: max_steps", max_steps)
    greedy = check_flag("evaluate: greedy", greedy)
    check_env(environment)
    check_actor_critic("evaluate", agent, environment)
    numbers, structure = partition(environment)
    parameters, agent_structure = partition_agent(agent)
    return _evaluate(
        numbers, parameters, key, max_steps, structure, agent_structure, num_episodes, greedy
    )


# Compiled once per structure, as the training loop is.
@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _evaluate(
    numbers: list[Any],
    parameters: list[Any],
    key: Key,
    max_steps: Any,
    structure: Structure,
    agent_structure: Structure,
    num_episodes: int,
    greedy: bool,
) -> Evaluation:
    environment, agent = combine(numbers, structure), combine(parameters, agent_structure)
    axes = varying_axes((numbers, parameters, key))

    def begin(key: Key) -> Tree:
        state, observation = environment.reset(key=key)
        return state, observation, agent.initial_memory(), jnp.zeros(()), jnp.array(0), False

    def one_step(carry: Tree, key: Key) -> Tree:
        state, observation, memory, total, length, over = carry
        action_key, step_key = jax.random.split(key)
        next_memory, output = agent.step(memory, observation, agent_key(action_key))
        distribution = output.distribution
        action = distribution.mode() if greedy else distribution.sample(seed=action_key)
        timestep = environment.advance(state, action, key=step_key)
        earned = timestep.info.get("unscaled_reward", timestep.reward)
        return (
            timestep.state,
            timestep.next_observation,
            next_memory,
            total + jnp.where(over, 0.0, earned),
            length + ~over,
            over | timestep.terminated | timestep.truncated,
        )

    def going_on(carry: Tree) -> Any:
        (*_, over), _, steps = carry
        return ~jnp.all(over) & (steps < max_steps)

    def all_step(carry: Tree) -> Tree:
        episodes, key, steps = carry
        key, step_key = jax.random.split(key)
        keys = jax.random.split(step_key, num_episodes)
        episodes = jax.vmap(one_step, axis_name=ENVIRONMENT_AXIS)(episodes, keys)
        return vary_over(axes, (episodes, key, steps + 1))

    begin_key, key = jax.random.split(key)
    keys = jax.random.split(begin_key, num_episodes)
    episodes = jax.vmap(begin, axis_name=ENVIRONMENT_AXIS)(keys)
    episodes, _, _ = jax.lax.while_loop(going_on, all_step, vary_over(axes, (episodes, key, 0)))
    *_, total, length, over = episodes
    return Evaluation(total, length, over)
