"""What the runtime type checks catch, in every public name; and that, off, they cost nothing."""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import TypeCheckError

import lerax_fx as fx
from lerax_fx import agents, envs

ROOT = Path(__file__).parents[2]
SWITCH = "LERAX_FX_TYPECHECK"
CHECKERS = ["beartype", "typeguard"]

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 3)
RUNS = np.full(3, 0.5, np.float32)
BOX = fx.spaces.Box(-1.0, 1.0, (2,))


class Walk(fx.Env):
    """An environment of one's own; what it gives can be got wrong."""

    reward_of: Callable[..., Any] = eqx.field(static=True, default=jnp.sum)
    over: Callable[..., Any] = eqx.field(static=True, default=lambda state: state.sum() > 5)
    cut: Callable[..., Any] = eqx.field(static=True, default=lambda state: state.sum() > 9)
    seen: Callable[..., Any] = eqx.field(static=True, default=lambda state: state)
    observation_space: fx.spaces.Space = BOX
    action_space: fx.spaces.Space = BOX

    def initial(self, *, key):
        return jnp.zeros(2)

    def transition(self, state, action, *, key):
        return state + action

    def observation(self, state, *, key):
        return self.seen(state)

    def reward(self, state, action, next_state, *, key):
        return self.reward_of(next_state)

    def terminal(self, state, *, key):
        return self.over(state)

    def truncate(self, state):
        return self.cut(state)


@fx.transform
def own_reward(
    rollout: fx.data.Rollout, *, change: Callable[..., Any] = jnp.abs
) -> fx.data.Rollout:
    return trajectories(reward=change(rollout.reward))


@fx.transform
def own_value(
    agent: Any, rollout: fx.data.Rollout, *, change: Callable[..., Any] = jnp.ravel
) -> fx.data.Rollout:
    # Two calls of vmap for the two leading axes; a critic's output has one more.
    each = jax.vmap(jax.vmap(lambda observation: change(agent.critic(observation))))
    return trajectories(value=each(rollout.observation))


def trajectories(**changes):
    """A rollout of 2 environments and 4 steps."""
    number, end = jnp.zeros((2, 4)), jnp.zeros((2, 4), bool)
    seen = jnp.zeros((2, 4, 2))
    fields = dict.fromkeys(("reward", "log_prob", "value", "next_value"), number)
    fields |= {"observation": seen, "action": seen, "next_observation": seen}
    return fx.data.Rollout(**{**fields, "terminated": end, "truncated": end, **changes})


ENV = Walk()
SPACES = ENV.observation_space, ENV.action_space
IMAGES = fx.spaces.Box(0.0, 1.0, (4, 4, 1)), fx.spaces.Discrete(2)
AGENT = fx.agents.mlp_actor_critic(SPACES, key=KEY, width=4)
ROLLOUT = trajectories()
ESTIMATES = fx.data.Estimates(ROLLOUT, ROLLOUT.value, ROLLOUT.value)
MLP = agents.MLP((3, 4, 2), key=KEY)
GRU = agents.GRU(3, 4, key=KEY)
STATISTICS = agents.RunningStatistics.start((2,))
ACT = fx.rollout(ENV, num_envs=2, num_steps=4)
LOOP = fx.anakin_loop(ACT, 1)
Q_AGENT = fx.q_agent((BOX, fx.spaces.Discrete(3)), key=KEY, widths=(4,))
ACTING = fx.deterministic_actor_critic(SPACES, key=KEY, widths=(4,))
BOUNDS = ACTING.bounds
SOFT = fx.soft_actor_critic(SPACES, key=KEY, widths=(4,))
CHOOSING = fx.soft_actor_critic((BOX, fx.spaces.Discrete(3)), key=KEY, widths=(4,))
CHOICES = jnp.zeros((2, 4), int)
TRANSITIONS = fx.data.Transitions.of(trajectories(action=CHOICES))
TARGETS = fx.data.Targets(ROLLOUT.observation, CHOICES, ROLLOUT.value)
CATEGORICAL_AGENT = fx.categorical_q_agent(
    (BOX, fx.spaces.Discrete(3)), key=KEY, num_atoms=5, widths=(4,)
)
QUANTILE_AGENT = fx.quantile_q_agent(
    (BOX, fx.spaces.Discrete(3)), key=KEY, num_quantiles=5, widths=(4,)
)
DISTRIBUTION_TARGETS = fx.data.DistributionTargets(
    ROLLOUT.observation, CHOICES, jnp.zeros((2, 4, 5)), jnp.full((2, 4, 5), 0.2)
)
PLANNER = fx.planning.planning_agent(
    SPACES, key=KEY, width=4, horizon=2, num_samples=4, num_elites=2
)
REAL_STEPS = fx.data.Transitions.of(ROLLOUT)


def with_network(agent, network):
    return eqx.tree_at(lambda agent: agent.network, agent, network)


REAL_TARGETS = fx.data.Targets(ROLLOUT.observation, ROLLOUT.action, ROLLOUT.value)


def stepped(env, action=None):
    state, _ = env.reset(key=KEY)
    return env.step(state, jnp.zeros(2) if action is None else action, key=KEY)


def evaluated(env, key=KEY):
    return fx.evaluate(env, AGENT, key, num_episodes=2, max_steps=2)


def updated(stage, data=None, key=KEY, agent=AGENT):
    return stage.update(agent, stage.init(agent, lambda: None, KEY), data, key)


def unrolled(agent, observation, resets):
    return agent.unroll(agent.initial_memory(), jnp.zeros((4, *observation.shape)), resets, KEY)


def judged_by(critic):
    encoding, policy = agents.Encoding((2,)), agents.CategoricalPolicy(2)
    agent = agents.FeedforwardActorCritic(encoding, None, jnp.tanh, critic, policy)
    return agent.step(None, jnp.zeros(2), KEY)


def criticised(critic, agent=ACTING):
    return eqx.tree_at(lambda agent: agent.critic, agent, critic)


def flattened(seen):
    return stepped(
        fx.envs.FlattenObservation(Walk(seen=seen, observation_space=fx.spaces.Discrete(3)))
    )


class Plant(NamedTuple):
    """A call that one value makes right and another wrong, and where that has to be noticed: in
    a module, class or function of `lerax_fx`, and perhaps at one of its parameters.
    """

    call: Callable[[Any], Any]
    right: Any
    wrong: Any
    place: str
    parameter: str | None = None


# The part before the colon is the public name.
PLANTS = {
    # Data.
    "Rollout: a reward without the axis of time": Plant(
        # The first field that disagrees with it is named.
        lambda reward: trajectories(reward=reward),
        jnp.zeros((2, 4)),
        jnp.zeros(2),
        "Rollout.__init__",
        "terminated",
    ),
    "Rollout: a value with an axis too many": Plant(
        lambda value: trajectories(value=value),
        jnp.zeros((2, 4)),
        jnp.zeros((2, 4, 1)),
        "Rollout.__init__",
        "value",
    ),
    "Rollout: ends as floats": Plant(
        lambda ends: trajectories(terminated=ends),
        jnp.zeros((2, 4), bool),
        jnp.zeros((2, 4)),
        "Rollout.__init__",
        "terminated",
    ),
    "Estimates: a target of one step less": Plant(
        lambda target: fx.data.Estimates(ROLLOUT, ROLLOUT.value, target),
        jnp.zeros((2, 4)),
        jnp.zeros((2, 3)),
        "Estimates.__init__",
        "target",
    ),
    "Transitions: ends as floats": Plant(
        lambda ends: fx.data.Transitions(
            TRANSITIONS.observation,
            TRANSITIONS.action,
            TRANSITIONS.reward,
            ends,
            TRANSITIONS.truncated,
            TRANSITIONS.next_observation,
        ),
        jnp.zeros((2, 4), bool),
        jnp.zeros((2, 4)),
        "Transitions.__init__",
        "terminated",
    ),
    "Targets: a target as a whole number": Plant(
        lambda target: fx.data.Targets(ROLLOUT.observation, CHOICES, target),
        jnp.zeros((2, 4)),
        jnp.zeros((2, 4), int),
        "Targets.__init__",
        "target",
    ),
    "DistributionTargets: probabilities of one step less": Plant(
        lambda probabilities: fx.data.DistributionTargets(
            ROLLOUT.observation, CHOICES, jnp.zeros((2, 4, 5)), probabilities
        ),
        jnp.zeros((2, 4, 5)),
        jnp.zeros((2, 3, 5)),
        "DistributionTargets.__init__",
        "probabilities",
    ),
    "Timed: a time as a whole number": Plant(
        lambda dt: fx.data.Timed(jnp.zeros(2), dt),
        jnp.zeros(()),
        jnp.zeros((), int),
        "Timed.__init__",
    ),
    "Intervals: resets for one interval less": Plant(
        lambda resets: fx.nde.Intervals(jnp.zeros(2), jnp.ones(4), resets=resets),
        jnp.zeros(4, bool),
        jnp.zeros(3, bool),
        "Intervals.__init__",
    ),
    "NDESolution: failures as whole numbers": Plant(
        lambda failed: fx.nde.NDESolution(jnp.zeros(2), jnp.zeros((4, 2)), failed),
        jnp.zeros(4, bool),
        jnp.zeros(4, int),
        "NDESolution.__init__",
        "failed",
    ),
    # Differential equations.
    "CDE: a control with a channel more than the field": Plant(
        lambda moved: (
            fx.nde.nde_solve.function(
                fx.nde.CDE(lambda t, y: jnp.ones((2, 3))), jnp.zeros(2), 1.0, control=moved
            ).final
        ),
        jnp.zeros(3),
        jnp.zeros(4),
        "along",
    ),
    "SDE: a diffusion with a column for each entry of the state": Plant(
        lambda size: (
            fx.nde.nde_solve.function(
                fx.nde.SDE(lambda t, y: y, lambda t, y: jnp.ones((2, size)), noise=3),
                jnp.zeros(2),
                1.0,
                key=KEY,
            ).final
        ),
        3,
        2,
        "along",
    ),
    "Output: a value as an int": Plant(
        lambda value: agents.Output(None, value),
        jnp.zeros(()),
        jnp.zeros((), int),
        "Output.__init__",
        "value",
    ),
    "QOutput: Q-values as ints": Plant(
        lambda q_values: agents.QOutput(None, jnp.zeros(()), q_values),
        jnp.zeros(3),
        jnp.zeros(3, int),
        "QOutput.__init__",
        "q_values",
    ),
    "DistributionalQOutput: a single Q-value": Plant(
        lambda q_values: agents.DistributionalQOutput(None, jnp.zeros(()), q_values, None),
        jnp.zeros(3),
        jnp.zeros(()),
        "DistributionalQOutput.__init__",
        "q_values",
    ),
    "greedy_output: a batch of Q-values": Plant(
        agents.greedy_output, jnp.zeros(3), jnp.zeros((2, 3)), "greedy_output", "q_values"
    ),
    "PolicyOutput: values as whole numbers": Plant(
        lambda value: fx.losses.PolicyOutput(None, value),
        jnp.zeros((2, 4)),
        jnp.zeros((2, 4), int),
        "PolicyOutput.__init__",
        "value",
    ),
    "Step: a metric that is no array": Plant(
        lambda metric: fx.Step(AGENT, (), None, {"score": metric}),
        jnp.ones(()),
        1.0,
        "Step.__init__",
        "metrics",
    ),
    "Timestep: an end for each of two": Plant(
        lambda end: fx.envs.Timestep(0, 0, 0, jnp.zeros(()), jnp.zeros((), bool), end, {}),
        jnp.zeros((), bool),
        jnp.zeros(2, bool),
        "Timestep.__init__",
        "truncated",
    ),
    "Evaluation: a length for one episode less": Plant(
        lambda length: fx.loops.Evaluation(jnp.zeros(3), length, jnp.zeros(3, bool)),
        jnp.zeros(3, int),
        jnp.zeros(2, int),
        "Evaluation.__init__",
        "episode_length",
    ),
    "TrainState: a batch of keys": Plant(
        lambda key: fx.loops.TrainState(AGENT, (), key), KEY, KEYS, "TrainState.__init__", "key"
    ),
    # Stages of one's own.
    "transform: a stage that takes the mean over time": Plant(
        lambda change: updated(own_reward(change=change), ROLLOUT),
        jnp.abs,
        lambda reward: reward.mean(-1),
        "Rollout.__init__",
        "terminated",
    ),
    "transform: a stage of the agent that leaves the critic's axis": Plant(
        lambda change: updated(own_value(change=change), ROLLOUT),
        lambda value: value[0],
        lambda value: value,
        "Rollout.__init__",
        "value",
    ),
    "recompute_values: a batch of keys": Plant(
        lambda key: fx.recompute_values.function(AGENT, ROLLOUT, key),
        KEY,
        KEYS,
        "recompute_values",
        "key",
    ),
    # Losses.
    "Loss: the weights of three runs": Plant(
        lambda weight: fx.entropy() * weight, 0.5, RUNS, "Loss.__mul__", "weight"
    ),
    "minimize: a critic that gives a matrix": Plant(
        lambda critic: updated(
            fx.minimize(fx.ppo_loss(), optax.sgd(0.1)),
            ESTIMATES,
            agent=eqx.tree_at(lambda agent: agent.critic, AGENT, critic),
        ),
        lambda features: features[:1],
        lambda features: features[None],
        "squeeze_scalar",
        "outputs",
    ),
    "anneal: the rates of three runs": Plant(
        lambda value: fx.anneal(value, num_updates=3)(0), 0.5, RUNS, "anneal", "value"
    ),
    "q_loss: a network that gives a matrix": Plant(
        lambda network: fx.q_loss()(
            eqx.tree_at(lambda agent: agent.network, Q_AGENT, network), TARGETS, KEY
        ),
        Q_AGENT.network,
        lambda features: features[None],
        "QAgent._q_values",
    ),
    "distributional_td_target: a network that gives a matrix": Plant(
        lambda network: updated(
            fx.distributional_td_target(),
            TRANSITIONS,
            agent=with_network(CATEGORICAL_AGENT, network),
        ),
        CATEGORICAL_AGENT.network,
        lambda features: jnp.zeros((3, 5)),
        "DistributionalQAgent._returns",
        "outputs",
    ),
    "c51_loss: a network that gives a matrix": Plant(
        lambda network: fx.c51_loss()(
            with_network(CATEGORICAL_AGENT, network), DISTRIBUTION_TARGETS, KEY
        ),
        CATEGORICAL_AGENT.network,
        lambda features: jnp.zeros((3, 5)),
        "DistributionalQAgent._returns",
        "outputs",
    ),
    "quantile_regression_loss: a network that gives a matrix": Plant(
        lambda network: fx.quantile_regression_loss()(
            with_network(QUANTILE_AGENT, network), DISTRIBUTION_TARGETS, KEY
        ),
        QUANTILE_AGENT.network,
        lambda features: jnp.zeros((3, 5)),
        "DistributionalQAgent._returns",
        "outputs",
    ),
    "burn_in: steps as a float": Plant(fx.burn_in, 5, 5.0, "burn_in", "steps"),
    "periodic: a period as a float": Plant(fx.periodic, 50, 50.0, "periodic", "period"),
    "polyak: the step sizes of three runs": Plant(fx.polyak, 0.5, RUNS, "polyak", "step_size"),
    "epsilon_greedy: the epsilons of three runs": Plant(
        fx.epsilon_greedy, 0.5, RUNS, "epsilon_greedy", "epsilon"
    ),
    "q_loss: a network with one output for all actions": Plant(
        lambda network: fx.q_loss()(
            eqx.tree_at(lambda agent: agent.network, Q_AGENT, network), TARGETS, KEY
        ),
        Q_AGENT.network,
        lambda features: features[:1],
        "QAgent._q_values",
    ),
    "gaussian_noise: the scales of three runs": Plant(
        fx.gaussian_noise, 0.5, RUNS, "gaussian_noise", "scale"
    ),
    "q_critic_loss: critics that give a matrix": Plant(
        lambda critic: fx.q_critic_loss()(criticised(critic), REAL_TARGETS, KEY),
        ACTING.critic,
        lambda features, action: ACTING.critic(features, action)[None],
        "QActorCritic.q_values",
    ),
    "dpg_loss: critics that give a matrix": Plant(
        lambda critic: fx.dpg_loss()(criticised(critic), REAL_TARGETS, KEY),
        ACTING.critic,
        lambda features, action: ACTING.critic(features, action)[None],
        "QActorCritic.q_values",
    ),
    "sac_policy_loss: critics that give a matrix": Plant(
        lambda critic: fx.sac_policy_loss()(criticised(critic, SOFT), REAL_TARGETS, KEY),
        SOFT.critic,
        lambda features, action: SOFT.critic(features, action)[None],
        "QActorCritic.q_values",
    ),
    # Planning.
    "Gaussian: a deviation for a number more": Plant(
        lambda std: fx.planning.Gaussian(jnp.zeros(2), std),
        jnp.ones(2),
        jnp.ones(3),
        "Gaussian.__init__",
        "std",
    ),
    "orthogonal: a batch of keys": Plant(
        lambda key: agents.orthogonal(key, 3, 2, 1.0), KEY, KEYS, "orthogonal", "key"
    ),
    "Dynamics: a batch of states": Plant(
        lambda state: PLANNER.model.step(state, jnp.zeros(2)).state,
        jnp.zeros(2),
        jnp.zeros((5, 2)),
        "Dynamics.step",
        "state",
    ),
    "PlanningAgent: resets as floats": Plant(
        lambda resets: unrolled(PLANNER, jnp.zeros(2), resets)[1].value,
        jnp.zeros(4, bool),
        jnp.zeros(4),
        "AbstractActorCritic.unroll",
        "resets",
    ),
    # Loops.
    # What an environment gives is checked always: tests/envs/test_broken_environments.py.
    "rollout: a batch of keys": Plant(
        lambda key: updated(ACT, key=key), KEY, KEYS, "Collect.update", "key"
    ),
    "evaluate: a batch of keys": Plant(
        lambda key: evaluated(ENV, key), KEY, KEYS, "evaluate", "key"
    ),
    "anakin_loop: a batch of keys": Plant(
        lambda key: LOOP(AGENT, key)[1], KEY, KEYS, "AnakinLoop.__call__", "key"
    ),
    "AnakinLoop: a batch of keys": Plant(
        lambda key: LOOP.init(AGENT, key).key, KEY, KEYS, "AnakinLoop.init", "key"
    ),
    "updates_in: a budget as a float": Plant(
        lambda total: fx.updates_in(total, num_envs=4, num_steps=4),
        1000,
        1e3,
        "updates_in",
        "total_steps",
    ),
    "combine: an array for a list of numbers": Plant(
        lambda numbers: fx.combine(numbers, fx.partition([0.5])[1]),
        [0.1],
        np.ones(1),
        "combine",
        "numbers",
    ),
    # Environments.
    "Env: a reward with an axis": Plant(
        lambda reward: stepped(Walk(reward_of=reward)),
        jnp.sum,
        lambda state: state[:1],
        "Timestep.__init__",
        "reward",
    ),
    "Env: a reward as a whole number": Plant(
        lambda reward: stepped(Walk(reward_of=reward)),
        jnp.sum,
        lambda state: jnp.ones((), int),
        "Timestep.__init__",
        "reward",
    ),
    "Env: an end as a float": Plant(
        lambda over: stepped(Walk(over=over)),
        lambda state: state.sum() > 5,
        jnp.sum,
        "Timestep.__init__",
        "terminated",
    ),
    "AbstractWrapper: an end for each entry": Plant(
        lambda over: stepped(fx.envs.FlattenObservation(Walk(over=over))),
        lambda state: state.sum() > 5,
        lambda state: state > 5,
        "AbstractWrapper.terminal",
    ),
    "ClipAction: an action of whole numbers": Plant(
        lambda action: stepped(fx.envs.ClipAction(ENV), action),
        jnp.zeros(2),
        jnp.zeros(2, int),
        "ClipAction.unwrap_action",
        "action",
    ),
    "RescaleAction: an action of whole numbers": Plant(
        lambda action: stepped(fx.envs.RescaleAction(ENV), action),
        jnp.zeros(2),
        jnp.zeros(2, int),
        "RescaleAction.unwrap_action",
        "action",
    ),
    "FlattenObservation: an observation with an axis too many": Plant(
        flattened,
        lambda state: jnp.zeros((), int),
        lambda state: jnp.zeros(1, int),
        "Discrete.flatten",
    ),
    "NormalizeReward: a reward as a whole number": Plant(
        lambda reward: stepped(fx.envs.NormalizeReward(Walk(reward_of=reward))),
        jnp.sum,
        lambda state: jnp.ones((), int),
        "RewardMemory.__init__",
        "reward",
    ),
    "SelectObservation: an observation with an axis too many": Plant(
        lambda seen: stepped(fx.envs.SelectObservation(Walk(seen=seen), [0])),
        lambda state: state,
        lambda state: state[None],
        "SelectObservation.wrap_observation",
        "observation",
    ),
    "IrregularTime: a reward with an axis": Plant(
        lambda reward: stepped(fx.envs.IrregularTime(Walk(reward_of=reward))),
        jnp.sum,
        lambda state: state[:1],
        "Timestep.__init__",
        "reward",
    ),
    "TimeLimit: an end as a float": Plant(
        lambda cut: stepped(fx.envs.TimeLimit(Walk(cut=cut), 3)),
        lambda state: state.sum() > 5,
        jnp.sum,
        "TimeLimit.wrap_truncate",
        "truncated",
    ),
    "GymnaxEnv: a batch of keys": Plant(
        lambda key: fx.make("CartPole-v1").reset(key=key), KEY, KEYS, "Env.reset", "key"
    ),
    "GymnaxState: a reward with an axis": Plant(
        lambda reward: envs.GymnaxState(0, 0, reward, jnp.zeros((), bool)),
        jnp.zeros(()),
        jnp.zeros(1),
        "GymnaxState.__init__",
        "reward",
    ),
    "RunningStatistics: a variance for one entry more": Plant(
        lambda variance: agents.RunningStatistics(jnp.zeros(2), jnp.zeros(2), variance),
        jnp.zeros(2),
        jnp.zeros(3),
        "RunningStatistics.__init__",
        "variance",
    ),
    "RunningStatistics: a value without a batch": Plant(
        agents.RunningStatistics.of,
        jnp.zeros((3, 2)),
        jnp.zeros(()),
        "RunningStatistics.of",
        "batch",
    ),
    "RunningStatistics: a value for one entry to be broadcast": Plant(
        STATISTICS.normalize, jnp.zeros(2), jnp.zeros(1), "statistics"
    ),
    # Agents.
    "AbstractFeedforward: resets as floats": Plant(
        lambda resets: unrolled(AGENT, jnp.zeros(2), resets),
        jnp.zeros(4, bool),
        jnp.zeros(4),
        "AbstractFeedforward.unroll",
        "resets",
    ),
    "cnn_actor_critic: resets as floats": Plant(
        lambda resets: unrolled(
            fx.agents.cnn_actor_critic(IMAGES, key=KEY, width=4), jnp.zeros((4, 4, 1)), resets
        ),
        jnp.zeros(4, bool),
        jnp.zeros(4),
        "AbstractFeedforward.unroll",
        "resets",
    ),
    "gru_actor_critic: resets with an axis too many": Plant(
        lambda resets: unrolled(
            fx.agents.gru_actor_critic(SPACES, key=KEY, width=4), jnp.zeros(2), resets
        ),
        jnp.zeros(4, bool),
        jnp.zeros((4, 1), bool),
        "AbstractRecurrent.unroll",
        "resets",
    ),
    "FeedforwardActorCritic: a critic that gives a matrix": Plant(
        judged_by,
        lambda features: features[:1],
        lambda features: features[None],
        "squeeze_scalar",
        "outputs",
    ),
    "FeedforwardActorCritic: a critic with two outputs": Plant(
        judged_by,
        lambda features: features[:1],
        lambda features: features[:2],
        "squeeze_scalar",
        "outputs",
    ),
    "FeedforwardActorCritic: an actor with a number too many": Plant(
        lambda actor: eqx.tree_at(lambda agent: agent.actor, AGENT, actor).step(
            None, jnp.zeros(2), KEY
        ),
        AGENT.actor,
        lambda features: jnp.append(AGENT.actor(features), 0.0),
        "GaussianPolicy.__call__",
        "outputs",
    ),
    "RecurrentActorCritic: a batch of memories": Plant(
        lambda memory: fx.agents.gru_actor_critic(SPACES, key=KEY, width=4).step(
            memory, jnp.zeros(2), KEY
        ),
        jnp.zeros(4),
        jnp.zeros((2, 4)),
        "AbstractRecurrent.step",
        "memory",
    ),
    "RecurrentQAgent: a batch of memories": Plant(
        lambda memory: fx.agents.gru_q_agent((BOX, fx.spaces.Discrete(3)), key=KEY, width=4).step(
            memory, jnp.zeros(2), KEY
        ),
        jnp.zeros(4),
        jnp.zeros((3, 4)),
        "AbstractRecurrent.step",
        "memory",
    ),
    "QAgent: resets as floats": Plant(
        lambda resets: unrolled(Q_AGENT, jnp.zeros(2), resets),
        jnp.zeros(4, bool),
        jnp.zeros(4),
        "QAgent.unroll",
        "resets",
    ),
    "DistributionalQAgent: resets as floats": Plant(
        lambda resets: unrolled(CATEGORICAL_AGENT, jnp.zeros(2), resets),
        jnp.zeros(4, bool),
        jnp.zeros(4),
        "DistributionalQAgent.unroll",
        "resets",
    ),
    "DistributionalQAgent: a network with one output for each action": Plant(
        lambda network: with_network(QUANTILE_AGENT, network).step(None, jnp.zeros(2), KEY),
        QUANTILE_AGENT.network,
        lambda features: jnp.zeros(3),
        "DistributionalQAgent._returns",
        "outputs",
    ),
    "CategoricalReturns: logits as whole numbers": Plant(
        lambda logits: agents.CategoricalReturns(logits, (0.0, 1.0)),
        jnp.zeros(5),
        jnp.zeros(5, int),
        "CategoricalReturns.__init__",
        "logits",
    ),
    "QuantileReturns: a single number": Plant(
        agents.QuantileReturns,
        jnp.zeros(5),
        jnp.zeros(()),
        "QuantileReturns.__init__",
        "quantiles",
    ),
    "QActorCritic: resets as floats": Plant(
        lambda resets: unrolled(ACTING, jnp.zeros(2), resets),
        jnp.zeros(4, bool),
        jnp.zeros(4),
        "AbstractFeedforward.unroll",
        "resets",
    ),
    "DiscreteQActorCritic: resets as floats": Plant(
        lambda resets: unrolled(CHOOSING, jnp.zeros(2), resets),
        jnp.zeros(4, bool),
        jnp.zeros(4),
        "AbstractFeedforward.unroll",
        "resets",
    ),
    "Critics: a batch of actions, without vmap": Plant(
        lambda action: ACTING.critic(jnp.zeros(2), action),
        jnp.zeros(2),
        jnp.zeros((5, 2)),
        "Critics.__call__",
        "action",
    ),
    "ActionBounds: an action of whole numbers": Plant(
        BOUNDS.unscaled, jnp.zeros(2), jnp.zeros(2, int), "ActionBounds.unscaled", "action"
    ),
    "DeterministicAction: whole numbers": Plant(
        lambda action: agents.DeterministicAction(action, BOUNDS).mode(),
        jnp.zeros(2),
        jnp.zeros(2, int),
        "DeterministicAction.__init__",
        "action",
    ),
    "MLP: a batch, without vmap": Plant(MLP, jnp.zeros(3), jnp.zeros((5, 3)), "MLP.__call__", "x"),
    "Linear: whole numbers": Plant(
        MLP.layers[0], jnp.zeros(3), jnp.zeros(3, int), "Linear.__call__", "x"
    ),
    "Linear: a vector for weights": Plant(
        agents.Linear, jnp.zeros((3, 2)), jnp.zeros(3), "Linear.__init__", "weight"
    ),
    "Convolution: an image without channels": Plant(
        agents.Convolution(1, 2, kernel=2, gain=1.0, key=KEY),
        jnp.zeros((4, 4, 1)),
        jnp.zeros((4, 4)),
        "Convolution.__call__",
        "image",
    ),
    "CNN: a batch, without vmap": Plant(
        agents.CNN((4, 4, 1), key=KEY),
        jnp.zeros((4, 4, 1)),
        jnp.zeros((5, 4, 4, 1)),
        "CNN.__call__",
        "image",
    ),
    "BatchNorm: a batch, without vmap": Plant(
        agents.BatchNorm(2), jnp.zeros(2), jnp.zeros((3, 2)), "BatchNorm.__call__", "x"
    ),
    "NoisyLinear: an input of whole numbers": Plant(
        agents.NoisyLinear(2, 3, key=KEY),
        jnp.zeros(2),
        jnp.zeros(2, int),
        "NoisyLinear.__call__",
        "x",
    ),
    "GRU: a batch of memories": Plant(
        lambda memory: GRU.advance(memory, jnp.zeros(12)),
        jnp.zeros(4),
        jnp.zeros((2, 4)),
        "GRU.advance",
        "memory",
    ),
    "SquashedNormal: means of whole numbers": Plant(
        lambda loc: agents.SquashedNormal(loc, jnp.ones(2), -1.0, 1.0).mode(),
        jnp.zeros(2),
        jnp.zeros(2, int),
        "SquashedNormal.__init__",
        "loc",
    ),
}


# What several of them get wrong in the same way.


def replayed(key):
    stage = fx.replay(fx.identity(), capacity=16, batch_size=2)
    return stage.update(AGENT, stage.init(AGENT, lambda: ROLLOUT, KEY), ROLLOUT, key)


def accumulated(key):
    stage = fx.accumulate(2, fx.identity())
    return stage.update(AGENT, stage.init(AGENT, lambda: ROLLOUT, KEY), ROLLOUT, key)


PLANTS["accumulate: a batch of keys"] = Plant(accumulated, KEY, KEYS, "Accumulate.update", "key")
PLANTS["replay: a batch of keys"] = Plant(replayed, KEY, KEYS, "Replay.update", "key")


def with_key(stage, data):
    return lambda key: updated(stage, data, key)


STAGES = {
    "identity": (fx.identity(), None),
    "chain": (fx.chain(fx.identity()), None),
    "Chain": (fx.chain(fx.gae()), ROLLOUT),
    "repeat": (fx.repeat(2, fx.identity()), ESTIMATES),
    "every": (fx.every(2, fx.identity()), ESTIMATES),
    "minibatch": (fx.minibatch(fx.identity(), num_epochs=1, num_minibatches=2), ESTIMATES),
    "minimize": (fx.minimize(fx.entropy(), optax.sgd(0.1)), ESTIMATES),
    "rollout": (ACT, None),
    "dataset": (fx.dataset(ESTIMATES, batch_size=1), None),
    "gae": (fx.gae(), ROLLOUT),
    "nde_solve": (
        fx.nde.nde_solve(equation=lambda agent: lambda t, y: -y),
        fx.nde.Intervals(jnp.zeros((2, 3)), jnp.ones((2, 4))),
    ),
}
# A rollout's random numbers may be drawn ahead, so that `Lagged` takes them for a key as well.
PLANTS["lagged: a batch of keys"] = Plant(
    with_key(fx.lagged(ACT, period=2), None), KEY, KEYS, "Chain.update", "key"
)
PLANTS |= {
    f"{name}: a batch of keys": Plant(
        with_key(stage, data), KEY, KEYS, f"{type(stage).__name__}.update", "key"
    )
    for name, (stage, data) in STAGES.items()
}


def replaced(name):
    """A stage of a user's that replaces a field of the rollout past its constructor."""

    def call(value):
        @fx.transform
        def change(rollout: fx.data.Rollout) -> fx.data.Rollout:
            return eqx.tree_at(lambda rollout: getattr(rollout, name), rollout, value)

        return updated(fx.chain(change(), fx.gae()), ROLLOUT)

    return call


FIELDS = {
    "reward": jnp.zeros(2),
    "value": jnp.zeros((2, 1)),
    "next_value": jnp.zeros((2, 4), int),
    "log_prob": jnp.zeros((2, 1)),
    "terminated": jnp.zeros((2, 4)),
}
PLANTS |= {
    f"chain: another {name} by tree_at": Plant(
        replaced(name), getattr(ROLLOUT, name), wrong, "Rollout.__init__"
    )
    for name, wrong in FIELDS.items()
}

HYPERPARAMETERS = {
    ("gae", "discount"): lambda value: updated(fx.gae(discount=value), ROLLOUT),
    ("gae", "lambda_"): lambda value: updated(fx.gae(lambda_=value), ROLLOUT),
    ("n_step_returns", "discount"): lambda value: updated(
        fx.n_step_returns(n=2, discount=value), ROLLOUT
    ),
    ("vtrace", "discount"): lambda value: updated(fx.vtrace(discount=value), ROLLOUT),
    ("vtrace", "clip_rho"): lambda value: updated(fx.vtrace(clip_rho=value), ROLLOUT),
    ("normalize_advantage", "epsilon"): lambda value: updated(
        fx.normalize_advantage(epsilon=value), ESTIMATES
    ),
    ("clipped_surrogate", "clip"): lambda value: fx.clipped_surrogate(clip=value)(
        AGENT, ESTIMATES, KEY
    ),
    ("q_lambda_returns", "discount"): lambda value: updated(
        fx.q_lambda_returns(discount=value), ROLLOUT
    ),
    ("q_lambda_returns", "lambda_"): lambda value: updated(
        fx.q_lambda_returns(lambda_=value), ROLLOUT
    ),
    ("prioritized", "exponent"): lambda value: fx.prioritized(exponent=value),
    ("td_target", "discount"): lambda value: fx.td_target(discount=value),
    ("td3_target", "discount"): lambda value: fx.td3_target(discount=value),
    ("sac_target", "discount"): lambda value: fx.sac_target(discount=value),
    ("temperature_loss", "target_entropy"): lambda value: fx.temperature_loss(target_entropy=value)(
        SOFT, REAL_TARGETS, KEY
    ),
    ("q_loss", "huber"): lambda value: fx.q_loss(huber=value)(Q_AGENT, TARGETS, KEY),
    ("quantile_regression_loss", "huber"): lambda value: fx.quantile_regression_loss(huber=value)(
        QUANTILE_AGENT, DISTRIBUTION_TARGETS, KEY
    ),
    ("distributional_td_target", "discount"): lambda value: fx.distributional_td_target(
        discount=value
    ),
    ("dynamics_loss", "reward_weight"): lambda value: fx.losses.dynamics_loss(reward_weight=value)(
        PLANNER, REAL_STEPS, KEY
    ),
    ("value_loss", "clip"): lambda value: fx.value_loss(clip=value)(AGENT, ESTIMATES, KEY),
    ("ppo_loss", "clip"): lambda value: fx.ppo_loss(clip=value)(AGENT, ESTIMATES, KEY),
    ("ppo_loss", "value_weight"): lambda value: fx.ppo_loss(value_weight=value)(
        AGENT, ESTIMATES, KEY
    ),
}
PLANTS |= {
    f"{name}: the {parameter} of three runs, without vmap": Plant(call, 0.5, RUNS, name, parameter)
    for (name, parameter), call in HYPERPARAMETERS.items()
}


# Functions that check a key themselves, with the type checks off as well.
TAKE_A_KEY = {
    "cem": lambda key: fx.planning.cem(
        jnp.sum, fx.planning.Gaussian(jnp.zeros(2), jnp.ones(2)), key=key
    ),
    "actor_critic": lambda key: fx.actor_critic(SPACES, key=key, width=4),
    "mlp_actor_critic": lambda key: fx.agents.mlp_actor_critic(SPACES, key=key, width=4),
    "cnn_actor_critic": lambda key: fx.agents.cnn_actor_critic(IMAGES, key=key, width=4),
    "gru_q_agent": lambda key: fx.agents.gru_q_agent(
        (BOX, fx.spaces.Discrete(3)), key=key, width=4
    ),
    "ode_actor_critic": lambda key: fx.nde.ode_actor_critic(SPACES, key=key, width=4),
    "cde_actor_critic": lambda key: fx.nde.cde_actor_critic(SPACES, key=key, width=4),
    "gru_actor_critic": lambda key: fx.agents.gru_actor_critic(SPACES, key=key, width=4),
    "planning_agent": lambda key: fx.planning.planning_agent(SPACES, key=key, width=4),
    "linear_cde_actor_critic": lambda key: fx.nde.linear_cde_actor_critic(SPACES, key=key, width=4),
    "q_agent": lambda key: fx.q_agent((BOX, fx.spaces.Discrete(3)), key=key, widths=(4,)),
    "categorical_q_agent": lambda key: fx.categorical_q_agent(
        (BOX, fx.spaces.Discrete(3)), key=key, num_atoms=5, widths=(4,)
    ),
    "quantile_q_agent": lambda key: fx.quantile_q_agent(
        (BOX, fx.spaces.Discrete(3)), key=key, num_quantiles=5, widths=(4,)
    ),
    "deterministic_actor_critic": lambda key: fx.deterministic_actor_critic(
        SPACES, key=key, widths=(4,)
    ),
    "soft_actor_critic": lambda key: fx.soft_actor_critic(SPACES, key=key, widths=(4,)),
}
DRAWN = (
    BOX,
    fx.spaces.Discrete(3),
    fx.spaces.MultiDiscrete([2, 3]),
    fx.spaces.MultiBinary(3),
    fx.spaces.Tuple([fx.spaces.Discrete(3)]),
    fx.spaces.Dict({"it": fx.spaces.Discrete(3)}),
    fx.envs.TimedSpace(BOX, fx.spaces.Box(0.0, 5.0)),
)
PLANTS |= {
    f"{type(space).__name__}: a batch of keys": Plant(
        space.sample, KEY, KEYS, f"{type(space).__name__}.sample", "key"
    )
    for space in DRAWN
}

POLICIES = (
    agents.BernoulliPolicy(6),
    agents.CategoricalPolicy(6),
    agents.DeterministicPolicy(agents.ActionBounds((6,), (-1.0,) * 6, (1.0,) * 6)),
    agents.GaussianPolicy((6,)),
    agents.MultiCategoricalPolicy((2, 3)),
    agents.SquashedGaussianPolicy((6,), -1.0, 1.0),
    agents.StateDependentGaussianPolicy(agents.ActionBounds((3,), (-1.0,) * 3, (1.0,) * 3)),
)
PLANTS |= {
    f"{type(policy).__name__}: a batch, without vmap": Plant(
        lambda outputs, policy=policy: policy(outputs).mode(),
        jnp.zeros(6),
        jnp.zeros((5, 6)),
        f"{type(policy).__name__}.__call__",
        "outputs",
    )
    for policy in POLICIES
}

# Modules, which `fx.__all__` names as well.
NAMESPACES = {
    "agents",
    "arguments",
    "data",
    "envs",
    "errors",
    "loops",
    "losses",
    "nde",
    "planning",
    "spaces",
    "stages",
    "typing",
    "saving",
    "testing",
}
# Of the other namespaces, what has to be checked as well.
ALSO_PUBLIC = {
    "AbstractExploration",
    "AbstractSampling",
    "AnakinLoop",
    "CDE",
    "Dynamics",
    "Evaluation",
    "Gaussian",
    "Intervals",
    "Loss",
    "NDESolution",
    "ODE",
    "PlanningAgent",
    "PolicyOutput",
    "SDE",
    "TrainState",
    "cde_actor_critic",
    "cem",
    "dynamics_loss",
    "forward",
    "linear_cde_actor_critic",
    "nde_solve",
    "ode_actor_critic",
    "planning_agent",
}

NOTHING_TO_CHECK = {
    "it is an annotation": {
        *("Count", "Flag", "Key", "Metrics", "Scalar", "ScalarLike", "Tree", "Activation"),
        *("Fraction", "Interval", "NonNegative", "Positive", "Real"),
    },
    "it is an error": {
        *("EnvironmentSetupError", "HyperparameterError", "LeraxError", "SavingError"),
        "WiringError",
    },
    "it is a constant": {"ACTIVATIONS", "ENVIRONMENT_AXIS"},
    # Code outside of the package is not checked; what it gives is, where it is used.
    "it is for others to define": {
        *("AbstractActorCritic", "AbstractExploration", "AbstractPolicy"),
        *("ActorCritic", "QNetwork", "DistributionalQNetwork", "ContinuousQ", "DiscreteQ"),
        *("HasModel", "HasStatistics", "HasTemperature", "NonTrainable"),
        "AbstractSampling",
        *("Schedule", "Space", "Transform", "Wrapper"),
    },
    "it holds or takes trees of any shape": {
        *("ODE", "Encoding", "Packed", "WrapperState"),
        *("CombinedNetwork", "NormalizedAgent", "StructuredEncoding", "draw_noise", "make_noisy"),
        *("normalize_observations", "update_statistics"),
        *("named_hyperparameters", "optimizer", "packed", "partition", "schedule"),
    },
    "it takes no arrays": {
        *("action_bounds", "describe", "make", "image_encoding", "policy_for", "uniform"),
        *("mask_velocities", "vector_encoding"),
    },
    "its checks are its own, and always on": {
        *("ActionMask", "check_agent", "check_agent_family", "check_env", "loss_term"),
        *("forward", "policy_gradient", "entropy", "load", "save"),
    },
}


@pytest.fixture
def checked(request):
    if request.config.getoption("--typecheck") == "off":
        pytest.skip("the type checks are off in this run")


def trace(plant, value):
    """Call it with nothing computed."""

    def call():
        plant.call(value)

    jax.eval_shape(call)


@pytest.mark.parametrize("name", list(PLANTS))
def test_a_planted_error_is_caught(name, checked):
    plant = PLANTS[name]
    trace(plant, plant.right)
    with pytest.raises(TypeCheckError) as raised:
        trace(plant, plant.wrong)
    message = str(raised.value)
    part, place = re.search(r"checking the (.+) of lerax_fx\.(.+)\.$", message, re.M).groups()
    assert f".{plant.place}." in f".{place}."
    if plant.parameter is not None:
        assert part == "parameters"
        assert f"typechecking parameter '{plant.parameter}'" in message


@pytest.mark.parametrize("name", list(TAKE_A_KEY))
def test_a_batch_of_keys_is_refused_with_the_checks_off_as_well(name):
    with pytest.raises(fx.WiringError, match=rf"^{name}: key: wanted one random key, got .*\(3,\)"):
        TAKE_A_KEY[name](KEYS)


def test_every_public_name_has_one_or_has_nothing_to_check():
    public = {*fx.__all__, *agents.__all__, *envs.__all__} - NAMESPACES | {
        *(*fx.spaces.__all__, *fx.typing.__all__, *fx.data.__all__),
        *ALSO_PUBLIC,
    }
    planted = {name.split(":")[0] for name in PLANTS} | TAKE_A_KEY.keys()
    exempt = set().union(*NOTHING_TO_CHECK.values())
    assert planted | exempt == public
    assert planted & exempt == set()


# Run in a fresh interpreter. What jaxtyping imports by itself (typeguard, if it is there)
# is imported before, and so is not counted.
REPORT = """
import gc, json, os, re, sys
import jax, equinox, optax, rlax

def within(name, packages):
    return str(name).split(".")[0] in packages

OURS, CHECKERS = ("lerax_fx", "recipes"), ("beartype", "jaxtyping", "typeguard")
modules, finders = set(sys.modules), list(sys.meta_path)
import lerax_fx
from recipes import ppo

imported = {name.split(".")[0] for name in set(sys.modules) - modules}
functions = [
    thing for thing in gc.get_objects()
    if type(thing) is type(within) and within(thing.__module__, OURS)
]
wrapped = [function for function in functions if "/jaxtyping/" in function.__code__.co_filename]

agent, train = ppo.make(
    key=jax.random.key(0), total_steps=8, num_envs=2, num_steps=4, num_epochs=1, num_minibatches=2
)
calls = 0

def count(frame, event, argument):
    global calls
    caller = frame.f_back and frame.f_back.f_globals.get("__name__")
    if event == "call" and within(caller, OURS):
        calls += within(frame.f_globals.get("__name__"), CHECKERS)

sys.setprofile(count)
jaxpr = jax.make_jaxpr(lambda key: train(agent, key)[1])(jax.random.key(1))
sys.setprofile(None)
print(json.dumps({
    "imported": sorted(imported),
    "finders": len(sys.meta_path) - len(finders),
    "functions": len(functions),
    "wrapped": len(wrapped),
    "calls": calls,
    "jaxpr": re.sub("0x[0-9a-f]+", "", str(jaxpr)),
}))
"""


@functools.cache
def reports():
    """What importing and tracing come to, with the switch unset (None) and with each checker."""
    kept = {name: value for name, value in os.environ.items() if name != SWITCH}
    kept["PYTHONPATH"] = str(ROOT)
    started = {
        choice: subprocess.Popen(
            [sys.executable, "-c", REPORT],
            env=kept if choice is None else {**kept, SWITCH: choice},
            stdout=subprocess.PIPE,
            text=True,
        )
        for choice in (None, *CHECKERS)
    }
    return {choice: json.loads(process.communicate()[0]) for choice, process in started.items()}


@pytest.mark.slow
def test_off_an_import_loads_no_checker_and_wraps_no_function():
    off = reports()[None]
    assert {"beartype", "typeguard"}.isdisjoint(off["imported"])
    assert off["functions"] > 300
    assert (off["finders"], off["wrapped"]) == (0, 0)


@pytest.mark.slow
def test_off_a_trace_calls_no_checker():
    assert reports()[None]["calls"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_on_functions_are_wrapped_and_called(checker):
    on = reports()[checker]
    assert on["finders"] == 1
    assert on["wrapped"] > 200
    assert on["calls"] > 200


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_the_program_is_the_same_on_and_off(checker):
    on, off = reports()[checker]["jaxpr"], reports()[None]["jaxpr"]
    assert len(off) > 10_000
    assert on == off


def test_the_switch_is_documented():
    text = (ROOT / "docs/errors-and-checks.md").read_text()
    for part in (f"`{SWITCH}=beartype`", "`typeguard`"):
        assert part in text


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, lambda f: jax.vmap(jax.jit(f))])
def test_traced_hyperparameters_are_checked_when_the_program_runs(transform):
    def last_advantage(discount):
        zeros, ends = jnp.zeros(2), jnp.zeros(2, bool)
        values = {"log_prob": zeros, "value": zeros, "next_value": zeros + 1.0}
        rollout = fx.data.Rollout(zeros, zeros, zeros, ends, ends, zeros, **values)
        stage = fx.gae(discount=discount)
        return stage.update(None, None, rollout, KEY).out.advantage[-1]

    batched = transform not in (jax.jit, jax.grad)
    right, wrong = (jnp.array([0.9, 0.9]), jnp.array([0.9, 1.5])) if batched else (0.9, 1.5)
    function = transform(last_advantage)
    assert jnp.allclose(function(right), 1.0 if transform is jax.grad else 0.9)
    with pytest.raises(Exception, match=r"gae: discount: wanted a number in \[0, 1\]"):
        jax.block_until_ready(function(wrong))
