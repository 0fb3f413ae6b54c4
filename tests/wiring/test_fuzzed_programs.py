"""Wrong programs that a fuzzer of chains, agents and environments found (`tests/fuzz`), one of
each kind, and what each of them is told before XLA compiles anything.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx

from . import programs
from .programs import KEY, Anything, check_told, learn

SETUP, NUMBER, WIRING = fx.EnvironmentSetupError, fx.HyperparameterError, fx.WiringError

BOX = fx.spaces.Box(-1.0, 1.0, (2,))
MASK = fx.spaces.MultiBinary(2)
IMAGE = fx.spaces.Box(0.0, 1.0, (6, 6, 1))
ENTRIES = fx.spaces.Dict({"seen": BOX, "mask": MASK, "short": fx.spaces.MultiBinary(3)})
TWO = fx.spaces.Discrete(2)
# Of any spaces, and faster to trace than gymnax's.
ENV, BOXES = Anything(BOX, TWO), Anything(BOX, BOX)
SMALL = {"key": KEY, "widths": (4,)}
AGENT = fx.actor_critic(ENV, key=KEY, width=4)
Q_AGENT = fx.q_agent(ENV, **SMALL)
QUANTILES = fx.quantile_q_agent(ENV, num_quantiles=3, **SMALL)
ATOMS = fx.categorical_q_agent(ENV, num_atoms=3, **SMALL)
TD3 = fx.deterministic_actor_critic(BOXES, **SMALL)
SAC = fx.soft_actor_critic(BOXES, **SMALL)
RECURRENT = fx.agents.gru_actor_critic(ENV, key=KEY, width=4)
RECURRENT_Q = fx.agents.gru_q_agent(ENV, key=KEY, width=4)

FLAGS, STEPS, SEEN = jnp.zeros((8, 2), bool), jnp.zeros((8, 2)), jnp.zeros((8, 2, 2))
DATA = fx.data.Transitions(SEEN, STEPS.astype(int), STEPS, FLAGS, FLAGS, SEEN)
REAL = fx.data.Transitions(SEEN, STEPS[..., None], STEPS, FLAGS, FLAGS, SEEN)


class Unroll(fx.agents.AbstractActorCritic):
    """An agent whose `unroll` leaves the memory out."""

    inner: fx.agents.AbstractActorCritic

    def initial_memory(self):
        return self.inner.initial_memory()

    def step(self, memory, observation, key):
        return self.inner.step(memory, observation, key)

    def unroll(self, memory, observations, resets, key):
        return self.inner.unroll(memory, observations, resets, key)[1]


def collect(env=ENV, **options):
    return programs.collect(env, **options)


def train(*stages, agent=AGENT):
    return programs.train(*stages, agent=agent)


def minimize(loss, part=(), optimizer=None):
    return fx.minimize(loss, optax.sgd(1e-2) if optimizer is None else optimizer, part=part)


def on_policy(loss, agent=AGENT, **options):
    return lambda: train(collect(), fx.gae(), minimize(loss(), **options), agent=agent)


def by(optimizer):
    """PPO by another optimiser."""
    return lambda: train(collect(), fx.gae(), fx.minimize(fx.ppo_loss(), optimizer()))


def replayed(*stages, agent=Q_AGENT, env=ENV, num_steps=4, **options):
    settings = {"capacity": 32, "batch_size": 2, **options}
    return lambda: train(
        collect(env, num_steps=num_steps), fx.replay(fx.chain(*stages), **settings), agent=agent
    )


def offline(data, *stages, agent=Q_AGENT, batch_size=2):
    return lambda: train(fx.dataset(data, batch_size=batch_size), *stages, agent=agent)


def mlp(spaces=(BOX, TWO), **options):
    return lambda: fx.agents.mlp_actor_critic(spaces, key=KEY, **options)


def planner(spaces=(BOX, BOX), **options):
    return lambda: fx.planning.planning_agent(spaces, key=KEY, width=4, **options)


def ode(**options):
    return lambda: fx.nde.ode_actor_critic(ENV, key=KEY, width=4, **options)


WRONG = {
    # Hyperparameters
    "many discounts in a program that runs once": (
        lambda: train(collect(num_steps=2), fx.gae(discount=np.full(2, 0.9))),
        WIRING,
        r"gae: discount: wanted one number, got an array of shape \(2,\)\. .*jax\.vmap",
    ),
    "many clipping ranges in a loss": (
        on_policy(lambda: fx.ppo_loss(clip=np.full(4, 0.2))),
        WIRING,
        r"minimize: clip: wanted one number, got an array of shape \(4,\)",
    ),
    "many weights of a term": (
        on_policy(lambda: fx.ppo_loss(value_weight=np.ones(2))),
        WIRING,
        r"loss: weight of 'value_loss': wanted one number, got an array of shape \(2,\)",
    ),
    "many step sizes of a target network": (
        lambda: replayed(fx.td_target(update=fx.polyak(np.full(2, 0.5))))(),
        WIRING,
        r"td_target: step_size: wanted one number, got an array of shape \(2,\)",
    ),
    "many standard deviations of a target's noise": (
        lambda: replayed(fx.td3_target(noise=np.ones(2)), agent=TD3, env=BOXES)(),
        WIRING,
        r"td3_target: noise: wanted one number, got an array of shape \(2,\)",
    ),
    "a weight that is a word": (
        lambda: fx.entropy() * "a",
        NUMBER,
        r"loss: weight: wanted a number, got 'a' of type str",
    ),
    "a weight that is NaN": (
        lambda: float("nan") * fx.value_loss(),
        NUMBER,
        r"loss: weight: wanted a number, got nan",
    ),
    "an exploration for a schedule": (
        lambda: fx.epsilon_greedy(fx.gaussian_noise(0.1)),
        NUMBER,
        r"epsilon_greedy: epsilon: wanted a number in \[0, 1\], got GaussianNoise",
    ),
    "a schedule without an argument": (
        lambda: fx.schedule(optax.linear_schedule, 1.0, 0.0),
        NUMBER,
        r"schedule: linear_schedule: .*\(init_value, end_value, transition_steps.*got missing a re",
    ),
    "a schedule of one's own that gives a vector": (
        lambda: train(collect(), fx.gae(lambda_=lambda count: jnp.zeros(2))),
        WIRING,
        r"gae: schedule: wanted a schedule that gives one number, got an array of shape \(2,\)",
    ),
    "a word for clipping values": (
        lambda: fx.ppo_loss(clip_value="gru"),
        NUMBER,
        r"ppo_loss: clip_value: wanted True or False, got 'gru'",
    ),
    "an array of words for a discount": (
        lambda: fx.gae(discount=np.array(["0.9"])),
        NUMBER,
        r"gae: discount: wanted a number in \[0, 1\], got array\(\['0\.9'\]",
    ),
    "a learning rate below 0, annealed": (
        lambda: fx.anneal(-1e-3, num_updates=10),
        NUMBER,
        r"anneal: value: wanted a number >= 0, got -0\.001",
    ),
    "a priority's epsilon of 0": (
        lambda: fx.prioritized(epsilon=0.0),
        NUMBER,
        r"prioritized: epsilon: wanted a finite number > 0, got 0\.0",
    ),
    # Optimisers and what they train
    "an optimiser without a learning rate": (
        by(lambda: fx.optimizer(optax.adam)),
        NUMBER,
        r"optimizer: adam: wanted .*\(learning_rate, .*got missing a required arg.*learning_rate",
    ),
    "a misspelt argument of an optimiser": (
        by(lambda: fx.optimizer(optax.adam, learning_rate=0.1, beta1=0.9)),
        NUMBER,
        r"optimizer: adam: wanted .*b1, b2, .*got an unexpected keyword argument 'beta1'",
    ),
    "an optimiser that is made already": (
        by(lambda: fx.optimizer(optax.sgd(0.1))),
        WIRING,
        r"optimizer: function: wanted a function of Optax.*Write fx\.optimizer\(optax\.adam, learn",
    ),
    "an optimiser that is not called": (
        by(lambda: optax.adam),
        WIRING,
        r"minimize: optimizer: wanted an Optax gradient transformation, got <function adam",
    ),
    "an optimiser of two sets of parameters": (
        by(lambda: optax.lookahead(optax.sgd(0.1), 2, 0.5)),
        WIRING,
        r"minimize: optimizer: wanted an optimiser of one set of parameters, got optax\.lookahead",
    ),
    "an optimiser of each example's gradient": (
        by(lambda: optax.contrib.dpsgd(0.1, 1.0, 0.1, 0)),
        WIRING,
        r"minimize: optimizer: .*gradient of the mean loss, got a differentially private one",
    ),
    "an optimiser masked for another tree": (
        by(lambda: optax.masked(optax.sgd(0.1), {"a": True})),
        WIRING,
        r"minimize: optimizer: wanted an Optax transformation that can be initialised",
    ),
    "many learning rates": (
        by(lambda: fx.optimizer(optax.sgd, np.ones(2))),
        WIRING,
        r"minimize: optimizer: wanted an Optax transformation that can be updated.*got TypeError",
    ),
    "a number for a part": (
        lambda: minimize(fx.ppo_loss(), part=3),
        WIRING,
        r"minimize: part: wanted a field of the agent, .*each once, got 3",
    ),
    "a part twice": (
        lambda: minimize(fx.ppo_loss(), part=("actor", "actor")),
        WIRING,
        r"minimize: part: .*each once, got 'actor' twice",
    ),
    "a part within another": (
        lambda: minimize(fx.ppo_loss(), part=("actor/layers", "actor")),
        WIRING,
        r"minimize: part: .*each once, got 'actor/layers', which is in 'actor'",
    ),
    "a method for a part": (
        replayed(
            fx.sac_target(),
            minimize(fx.sac_policy_loss(), part="policy"),
            agent=SAC,
            env=BOXES,
        ),
        WIRING,
        r"minimize: part: wanted a field of the agent.*got a QActorCritic with a method 'policy'",
    ),
    "a part that its loss does not depend on": (
        replayed(fx.td3_target(), minimize(fx.dpg_loss(), part="critic"), agent=TD3, env=BOXES),
        WIRING,
        r"minimize: loss: .*depends on the arrays that are trained, got dpg_loss\(\), which has no",
    ),
    # Losses and targets for other agents
    "terms that take other data": (
        lambda: fx.entropy() + fx.q_loss(),
        WIRING,
        r"loss: entropy \+ q_loss: wanted terms that take the same data, got Estimates for .*Targ",
    ),
    "a loss of values for targets that are distributions": (
        lambda: fx.chain(fx.distributional_td_target(), minimize(fx.q_loss())),
        WIRING,
        r"'minimize': wanted Targets, got DistributionTargets .*Put fx\.td_target",
    ),
    "the loss of quantiles of fixed atoms": (
        replayed(
            fx.distributional_td_target(), minimize(fx.quantile_regression_loss()), agent=ATOMS
        ),
        WIRING,
        r"quantile_regression_loss: .*fx\.quantile_q_agent",
    ),
    "the loss of fixed atoms of quantiles": (
        replayed(fx.distributional_td_target(), minimize(fx.c51_loss()), agent=QUANTILES),
        WIRING,
        r"c51_loss: .*fx\.categorical_q_agent",
    ),
    "a distributional target of values": (
        replayed(fx.distributional_td_target(), minimize(fx.c51_loss())),
        WIRING,
        r"distributional_td_target: agent: wanted a distributional Q-network.*fx\.categorical_q_ag",
    ),
    "a target network of an actor-critic": (
        replayed(fx.td_target(), minimize(fx.q_loss()), agent=AGENT),
        WIRING,
        r"td_target: agent: wanted a Q-network.*lacks q_values.*fx\.q_agent",
    ),
    "SAC's target of an agent without a temperature": (
        replayed(fx.sac_target(), agent=TD3, env=BOXES),
        WIRING,
        r"sac_target: agent: wanted an agent with log_temperature, got a QActorCritic without",
    ),
    "TD3's target of a stochastic policy": (
        replayed(fx.td3_target(), agent=SAC, env=BOXES),
        WIRING,
        r"td3_target: agent: wanted an agent whose policy is deterministic.*fx\.deterministic_act",
    ),
    "critics of a Q-network": (
        offline(DATA, fx.td_target(), minimize(fx.q_critic_loss())),
        WIRING,
        r"q_critic_loss: agent: .*got a QAgent without policy",
    ),
    "the loss of a model without a model": (
        replayed(minimize(fx.losses.dynamics_loss())),
        WIRING,
        r"dynamics_loss: agent: wanted .*model",
    ),
    "a target update that is a number": (
        lambda: fx.td_target(update=0.1),
        WIRING,
        r"td_target: update: wanted a target update, got 0\.1\. Pass fx\.periodic",
    ),
    "an unroll that leaves the memory out": (
        on_policy(fx.ppo_loss, agent=Unroll(AGENT)),
        WIRING,
        r"policy loss: agent: unroll: wanted \(memory, Output\), got a Output",
    ),
    "an unroll that leaves the memory out, for values": (
        lambda: train(collect(), fx.recompute_values(), agent=Unroll(RECURRENT)),
        WIRING,
        r"recompute_values: agent: unroll: wanted \(memory, Output\), got a Output",
    ),
    # Exploration
    "epsilon-greedy without Q-values": (
        lambda: train(collect(explore=fx.epsilon_greedy(0.1))),
        WIRING,
        r"epsilon_greedy: agent: wanted a Q-network.*lacks q_values",
    ),
    "noise on a stochastic policy": (
        lambda: train(collect(explore=fx.gaussian_noise(0.1))),
        WIRING,
        r"gaussian_noise: wanted an agent whose policy is deterministic, got a Categorical",
    ),
    "a number for an exploration": (
        lambda: collect(explore=0.1),
        WIRING,
        r"rollout: explore: wanted an exploration, got 0\.1.*fx\.epsilon_greedy",
    ),
    "something else to keep": (
        lambda: collect(keep=("logits",)),
        NUMBER,
        r"rollout: keep: wanted names among 'distribution' and 'info', got \('logits',\)",
    ),
    # Replay
    "a target over more steps than a window has": (
        replayed(fx.td_target(n=3), minimize(fx.q_loss())),
        WIRING,
        r"td_target: n: wanted windows of at least 3 steps, got 1\. .*length=3\)",
    ),
    "a batch larger than the replay buffer": (
        replayed(capacity=8, batch_size=16),
        NUMBER,
        r"replay: batch_size: wanted at most the capacity, 8, got 16",
    ),
    "a replay buffer that holds no rollout": (
        replayed(capacity=4),
        NUMBER,
        r"replay: capacity: wanted room for a rollout of 2 environments and 4 steps.*got 4",
    ),
    "fewer observations than steps": (
        replayed(observations=16),
        NUMBER,
        r"replay: observations: wanted more than the capacity, 32.*got 16",
    ),
    "windows shorter than a recurrent agent's rollouts": (
        replayed(fx.td_target(), agent=RECURRENT_Q, length=2),
        NUMBER,
        r"replay: length: wanted at least the rollout's num_steps, 4.*got 2",
    ),
    "a sampling scheme that is not called": (
        replayed(sampling=fx.uniform),
        WIRING,
        r"replay: sampling: wanted a sampling scheme.*Pass fx\.uniform\(\) or fx\.prioritized",
    ),
    "priorities that nothing sets": (
        replayed(fx.identity(), sampling=fx.prioritized()),
        WIRING,
        r"replay: sampling: wanted an inner transform that gives data with a `priority`.*with none",
    ),
    "a replay within minibatches": (
        lambda: train(
            collect(),
            fx.minibatch(
                fx.replay(fx.identity(), capacity=8, batch_size=2), num_epochs=1, num_minibatches=2
            ),
        ),
        WIRING,
        r"replay: wanted whole trajectories, .*'minibatch'\. Put minibatch within replay",
    ),
    "a replay that misses updates": (
        lambda: train(collect(), fx.every(2, fx.replay(fx.identity(), capacity=32, batch_size=2))),
        WIRING,
        r"replay: wanted the data of each update once.*within 'every'\. Put every within replay",
    ),
    "a burn-in longer than a window": (
        replayed(fx.burn_in(4), agent=RECURRENT_Q, length=4),
        WIRING,
        r"burn_in: steps: wanted windows of more than 4 steps, got 4\. .*length=5",
    ),
    "a burn-in without memory": (
        replayed(fx.burn_in(1), length=4),
        WIRING,
        r"burn_in: data: wanted data with the agent's memory in it",
    ),
    "an estimator within a replay": (
        replayed(fx.td_target(), fx.gae()),
        WIRING,
        r"'gae': wanted Rollout, got Targets \(from 'td_target'\)",
    ),
    # Batches and datasets
    "an estimator on shuffled steps": (
        lambda: train(collect(), fx.minibatch(fx.gae(), num_epochs=1, num_minibatches=2)),
        WIRING,
        r"gae: wanted whole trajectories, got single steps, shuffled, within 'minibatch'",
    ),
    "an accumulation of repeated data": (
        lambda: train(collect(), fx.repeat(2, fx.accumulate(2, fx.gae()))),
        WIRING,
        r"accumulate: wanted the data of each update once.*within 'repeat'",
    ),
    "a dataset of words": (
        offline({"a": "b"}),
        WIRING,
        r"dataset: data: wanted a PyTree of arrays of numbers",
    ),
    "a dataset of arrays that differ in length": (
        offline((jnp.zeros(3), jnp.zeros(4))),
        WIRING,
        r"dataset: data: wanted data whose arrays share their first 1 axes, got .*\(3,\), \(4,\)",
    ),
    "a dataset without an axis of time": (
        offline(jax.tree.map(lambda x: x[:, 0], DATA)),
        WIRING,
        r"dataset: data: wanted data whose arrays share their first 2 axes",
    ),
    "a batch larger than a dataset": (
        offline(DATA, batch_size=9),
        NUMBER,
        r"dataset: batch_size: wanted at most the 8 rows of the data, got 9",
    ),
    "a dataset behind a rollout": (
        lambda: train(collect(), fx.dataset(DATA, batch_size=2)),
        WIRING,
        r"'dataset': wanted no data, got Rollout .*starts an algorithm: put it first",
    ),
    "Q-learning of real actions": (
        offline(REAL, fx.td_target(), minimize(fx.q_loss())),
        WIRING,
        r"q_loss: data: action: wanted discrete actions",
    ),
    "an estimator of a dataset of steps": (
        offline(DATA, fx.gae()),
        WIRING,
        r"'gae': wanted Rollout, got Transitions \(from 'dataset'\)",
    ),
    "learning within a lagged rollout": (
        lambda: train(fx.lagged(fx.chain(collect(), fx.gae(), learn()), period=2)),
        WIRING,
        r"lagged: inner: wanted stages that leave the agent as it is",
    ),
    "a rollout in some updates": (
        lambda: train(fx.every(2, collect()), fx.gae()),
        WIRING,
        r"'gae': wanted Rollout, got no data \(from 'every'\)",
    ),
    "statistics of an agent without": (
        lambda: train(collect(), fx.update_statistics()),
        WIRING,
        r"update_statistics: agent: .*got a Feedforward\w+ without.*normalize_observations",
    ),
    "statistics of shuffled steps": (
        lambda: train(
            collect(), fx.minibatch(fx.update_statistics(), num_epochs=1, num_minibatches=2)
        ),
        WIRING,
        r"update_statistics: wanted whole trajectories.*Put it around minibatch, not within",
    ),
    "statistics of a replay's samples": (
        replayed(fx.update_statistics()),
        WIRING,
        r"update_statistics: data: wanted a Rollout or Estimates, got a Transitions",
    ),
    # Agents and spaces
    "an activation that is a tuple": (
        mlp(activation=("tanh", "relu")),
        NUMBER,
        r"activation: wanted a function, or one of elu, .*got \('tanh', 'relu'\)",
    ),
    "an activation of two arguments": (
        mlp(activation=lambda x, y: x),
        NUMBER,
        r"activation: wanted a function, or one of elu",
    ),
    "a number for what an actor sees": (
        mlp((ENTRIES, TWO), actor_sees=3),
        NUMBER,
        r"mlp_actor_critic: actor_sees: wanted at least one name of an entry, or None.*got 3",
    ),
    "an entry that is not there, for a critic": (
        mlp((ENTRIES, TWO), critic_sees="hidden"),
        WIRING,
        r"mlp_actor_critic: critic_sees: wanted one of .*'seen'.*got 'hidden'",
    ),
    "an action mask without entries": (
        mlp(action_mask="mask"),
        WIRING,
        r"mlp_actor_critic: action_mask: wanted observations with entries by name: a Dict",
    ),
    "an action mask of another size": (
        mlp((ENTRIES, TWO), action_mask="short"),
        WIRING,
        r"action_mask 'short': wanted an entry of shape \(2,\), one for each action, got shape \(3",
    ),
    "an action mask of real numbers": (
        mlp((ENTRIES, TWO), action_mask="seen"),
        WIRING,
        r"action_mask 'seen': wanted bools, or integers that are 0 or 1",
    ),
    "an action mask for continuous actions": (
        mlp((ENTRIES, BOX), action_mask="mask"),
        WIRING,
        r"mlp_actor_critic: action_mask: wanted Discrete actions.*Leave action_mask out",
    ),
    "squashed actions that are discrete": (
        mlp(squash=True),
        WIRING,
        r"mlp_actor_critic: squash: wanted a Box of floats to squash actions into, got Discrete",
    ),
    "a word for squashing": (
        mlp((BOX, BOX), squash="tanh"),
        NUMBER,
        r"mlp_actor_critic: squash: wanted True or False, got 'tanh'",
    ),
    "a standard deviation that is a word": (
        mlp((BOX, BOX), log_std="a"),
        NUMBER,
        r"mlp_actor_critic: log_std: wanted a number, got 'a'",
    ),
    "whole numbers for continuous actions": (
        mlp((BOX, fx.spaces.Box(0, 3, (2,), np.int32))),
        WIRING,
        r"mlp_actor_critic: actions: wanted a Discrete.* or a Box of floats, got .* of int32",
    ),
    "nothing to observe": (
        mlp((fx.spaces.Box(0.0, 1.0, (0,)), TWO)),
        WIRING,
        r"mlp_actor_critic: observations: wanted at least one number",
    ),
    "images smaller than a convolution": (
        lambda: fx.actor_critic((fx.spaces.Box(0.0, 1.0, (2, 2, 1)), TWO), key=KEY),
        WIRING,
        r"CNN: size: wanted images large enough for 1 convolutions of 3 x 3, got 2 x 2",
    ),
    "vectors for a convolution": (
        lambda: fx.agents.cnn_actor_critic(ENV, key=KEY),
        WIRING,
        r"cnn_actor_critic: observations: wanted images",
    ),
    "one channel for several": (
        lambda: fx.agents.cnn_actor_critic((IMAGE, TWO), key=KEY, channels=16),
        NUMBER,
        r"cnn_actor_critic: channels: wanted a sequence of ints, got 16",
    ),
    "a word for sharing a torso": (
        lambda: fx.agents.cnn_actor_critic((IMAGE, TWO), key=KEY, shared="no"),
        NUMBER,
        r"cnn_actor_critic: shared: wanted True or False, got 'no'",
    ),
    "a memory that there is not": (
        lambda: fx.actor_critic(ENV, key=KEY, memory="lstm"),
        NUMBER,
        r"actor_critic: memory: wanted None, or one of 'gru', got 'lstm'",
    ),
    "Q-values of continuous actions": (
        lambda: fx.q_agent(BOXES, key=KEY),
        WIRING,
        r"q_agent: actions: wanted a Discrete space: a value for each action, got Box",
    ),
    "a deterministic policy of discrete actions": (
        lambda: fx.deterministic_actor_critic(ENV, key=KEY),
        WIRING,
        r"deterministic_actor_critic: actions: wanted a Box of floats with finite bounds.*got Disc",
    ),
    "SAC on actions without bounds": (
        lambda: fx.soft_actor_critic((BOX, fx.spaces.Box(-np.inf, np.inf, (2,))), key=KEY),
        WIRING,
        r"soft_actor_critic: actions: wanted a Discrete space, or a Box of floats with finite boun",
    ),
    "a temperature of 0": (
        lambda: fx.soft_actor_critic(BOXES, key=KEY, temperature=0.0),
        NUMBER,
        r"soft_actor_critic: temperature: wanted a number > 0",
    ),
    "atoms from high to low": (
        lambda: fx.categorical_q_agent(ENV, key=KEY, low=10.0, high=-10.0),
        NUMBER,
        r"categorical_q_agent: low: wanted a finite number below high, got low=10\.0, high=-10\.0",
    ),
    "no number for an atom": (
        lambda: fx.categorical_q_agent(ENV, key=KEY, low=None),
        NUMBER,
        r"categorical_q_agent: low: wanted a finite number below high, got low=None",
    ),
    "statistics of whole numbers": (
        lambda: fx.agents.normalize_observations(AGENT, (fx.spaces.Discrete(3), TWO)),
        WIRING,
        r"normalize_observations: env: wanted observations with numbers to normalise",
    ),
    # Neural differential equations and planning
    "a solver that there is not": (
        ode(solver="rk45"),
        NUMBER,
        r"ode_actor_critic: solver: wanted one of 'euler', .*got 'rk45'",
    ),
    "a vector field that there is not": (
        ode(vector_field="lstm"),
        NUMBER,
        r"ode_actor_critic: vector_field: wanted 'mlp' or 'gru', got 'lstm'",
    ),
    "a step size for a controller": (
        ode(controller=0.1),
        NUMBER,
        r"ode_actor_critic: controller: wanted a diffrax\.AbstractStepSizeController, got 0\.1",
    ),
    "another way to fail": (
        ode(on_failure="ignore"),
        NUMBER,
        r"ode_actor_critic: on_failure: wanted one of 'hold', 'raise', 'propagate', got 'ignore'",
    ),
    "a gain of 0": (
        lambda: fx.nde.cde_actor_critic(ENV, key=KEY, gain=0.0),
        NUMBER,
        r"cde_actor_critic: gain: wanted a number > 0",
    ),
    "many gains": (
        lambda: fx.nde.cde_actor_critic(ENV, key=KEY, gain=np.ones(2)),
        WIRING,
        r"cde_actor_critic: gain: wanted one number, got an array of shape \(2,\)",
    ),
    "an array for a solver": (
        ode(solver=np.ones(2)),
        NUMBER,
        r"ode_actor_critic: solver: wanted one of 'euler', .*got array",
    ),
    "plans of discrete actions": (
        planner((BOX, TWO)),
        WIRING,
        r"planning_agent: actions: wanted a Box of floats with finite bounds",
    ),
    "more elites than samples": (
        planner(num_samples=4, num_elites=8),
        NUMBER,
        r"planning_agent: num_elites: wanted at most num_samples, 4, got 8",
    ),
    "a number for a known reward": (
        planner(reward=1.0),
        NUMBER,
        r"planning_agent: reward: wanted a function \(observation, action, next_observation\)",
    ),
    # Environments
    "a limit of no steps": (
        lambda: fx.envs.TimeLimit(ENV, 0),
        NUMBER,
        r"TimeLimit: max_steps: wanted an int of at least 1, got 0",
    ),
    "a Dict of a space without a name": (
        lambda: fx.spaces.Dict(BOX),
        NUMBER,
        r"Dict: spaces: wanted a mapping of spaces, got Box",
    ),
    "a Tuple of one space": (
        lambda: fx.spaces.Tuple(BOX),
        NUMBER,
        r"Tuple: spaces: wanted a sequence of spaces, got Box",
    ),
    "discrete actions to clip": (
        lambda: fx.envs.ClipAction(ENV),
        SETUP,
        r"ClipAction: env: wanted actions that are one array of floats .*got Anything with Disc",
    ),
    "an entry beyond a vector": (
        lambda: fx.envs.SelectObservation(ENV, (2,)),
        NUMBER,
        r"SelectObservation: indices: wanted one or more different ints from 0 to 1, got",
    ),
    "entries of timed observations": (
        lambda: fx.envs.SelectObservation(fx.envs.IrregularTime(ENV), (0,)),
        SETUP,
        r"SelectObservation: env: wanted observations that are vectors.*IrregularTime",
    ),
    "velocities that are not known": (
        lambda: fx.envs.mask_velocities(ENV),
        SETUP,
        r"mask_velocities: env: wanted one of CartPole-v1, .*got Anything\. Name the entries",
    ),
    "irregular time twice": (
        lambda: fx.envs.IrregularTime(fx.envs.IrregularTime(ENV)),
        SETUP,
        r"IrregularTime: env: wanted observations without a time of their own",
    ),
    "statistics within irregular time": (
        lambda: fx.envs.IrregularTime(fx.envs.NormalizeReward(ENV)),
        SETUP,
        r"IrregularTime: env: .*without running statistics.*Put fx\.envs\.NormalizeReward around",
    ),
    "an agent of plain observations in irregular time": (
        lambda: train(collect(fx.envs.IrregularTime(ENV))),
        WIRING,
        r"rollout: agent: step: observation: wanted one array of 2 numbers, got a Timed",
    ),
}
# What a runtime type checker, where one is on, refuses before the package's own checks see it.
SEEN_BY_TYPE_CHECKERS = {
    "an array of words for a discount",
    "one channel for several",
    "a word for sharing a torso",
    "no number for an atom",
    "many gains",
    "a Dict of a space without a name",
    "a Tuple of one space",
    "an exploration for a schedule",
    "an activation of two arguments",
    "many clipping ranges in a loss",
    "many weights of a term",
    "many step sizes of a target network",
    "many standard deviations of a target's noise",
    "a weight that is a word",
    "a word for clipping values",
    "an optimiser that is made already",
    "an optimiser that is not called",
    "a number for a part",
    "a target update that is a number",
    "a number for an exploration",
    "a sampling scheme that is not called",
    "an activation that is a tuple",
    "a number for what an actor sees",
    "a word for squashing",
    "a standard deviation that is a word",
    "a number for a known reward",
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_program_is_told_so(name, caplog):
    check_told(*WRONG[name], caplog, seen_by_type_checkers=name in SEEN_BY_TYPE_CHECKERS)


def test_there_are_enough_of_them():
    assert len(WRONG) >= 40
