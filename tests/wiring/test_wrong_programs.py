"""Programs that are wrong, and what each of them is told, before XLA compiles anything."""

import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest

import lerax_fx as fx
from lerax_fx.loops import anakin
from recipes import dqn, ppo

from .programs import AGENT, ENV, KEY, check_told, collect, compiled, learn, train

ACROBOT = fx.make("Acrobot-v1")
PENDULUM_AGENT = fx.actor_critic("Pendulum-v1", key=KEY)


class Wrapped(eqx.Module):
    """An agent around another, to be got wrong."""

    inner: fx.agents.AbstractActorCritic

    def initial_memory(self):
        return self.inner.initial_memory()

    def step(self, memory, observation, key):
        return self.inner.step(memory, observation, key)

    def unroll(self, memory, observations, resets, key):
        return self.inner.unroll(memory, observations, resets, key)


class WithoutUnroll(eqx.Module):
    weight: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(2))

    def initial_memory(self):
        return None

    def step(self, memory, observation, key):
        raise NotImplementedError


class WithoutStep(eqx.Module):
    weight: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(2))

    def initial_memory(self):
        return None

    def unroll(self, memory, observations, resets, key):
        raise NotImplementedError


class OutputAlone(Wrapped):
    def step(self, memory, observation, key):
        return self.inner.step(memory, observation, key)[1]


class ThreeThings(Wrapped):
    def step(self, memory, observation, key):
        memory, output = self.inner.step(memory, observation, key)
        return memory, output.distribution, output.value


class WithoutDistribution(Wrapped):
    def step(self, memory, observation, key):
        memory, output = self.inner.step(memory, observation, key)
        return memory, fx.agents.Output(output.distribution.logits, output.value)


class Opaque:
    """A distribution that is no PyTree."""

    def __init__(self, inner):
        self.sample, self.log_prob = inner.sample, inner.log_prob
        self.entropy, self.mode = inner.entropy, inner.mode


class WithOpaque(Wrapped):
    def step(self, memory, observation, key):
        memory, output = self.inner.step(memory, observation, key)
        return memory, fx.agents.Output(Opaque(output.distribution), output.value)


class BatchedValue(Wrapped):
    def step(self, memory, observation, key):
        memory, output = self.inner.step(memory, observation, key)
        return memory, fx.agents.Output(output.distribution, output.value[None])


class OneValue(Wrapped):
    """Of a whole trajectory."""

    def unroll(self, memory, observations, resets, key):
        memory, output = self.inner.unroll(memory, observations, resets, key)
        return memory, eqx.tree_at(lambda o: o.value, output, output.value.mean())


class NoResets(Wrapped):
    def unroll(self, memory, observations, resets, key):
        return self.inner.unroll(memory, observations, jnp.zeros_like(resets), key)


class Buggy(Wrapped):
    def step(self, memory, observation, key):
        return self.inner.step(memory, observation @ jnp.zeros((3, 3)), key)


class GrowingMemory(Wrapped):
    def initial_memory(self):
        return jnp.zeros(2)

    def step(self, memory, observation, key):
        _, output = self.inner.step(None, observation, key)
        return jnp.zeros(3), output


@fx.transform
def promises_estimates(rollout: fx.data.Rollout) -> fx.data.Estimates:
    return rollout


def plain_function(rollout):
    return rollout


@fx.loss_term(fx.losses.forward)
def unreduced(evaluation: fx.losses.PolicyOutput, data: fx.data.Estimates) -> fx.typing.Scalar:
    return evaluation.value - data.target


class NoStep(fx.Transform[fx.data.Rollout, fx.data.Rollout]):
    def init(self, agent, data, key):
        return ()

    def update(self, agent, state, data, key):
        return data


class Odd(fx.Transform[fx.data.Rollout, fx.data.Rollout]):
    """Changes its state, the agent or its metrics into something else."""

    state: Callable[[Any], Any] = eqx.field(static=True, default=lambda state: state)
    agent: Callable[[Any], Any] = eqx.field(static=True, default=lambda agent: agent)
    metrics: Callable[[], Any] = eqx.field(static=True, default=dict)

    def init(self, agent, data, key):
        return {"count": jnp.zeros((2,))}

    def update(self, agent, state, data, key):
        return fx.Step(self.agent(agent), self.state(state), data, self.metrics())


def odd_state(change):
    return lambda: train(collect(), Odd(state=change))


def odd_agent(change):
    return lambda: train(collect(), Odd(agent=change))


def odd_metrics(make):
    return lambda: train(collect(), Odd(metrics=make))


def as_half(agent):
    weight = agent.critic.layers[0].weight.astype(jnp.float16)
    return eqx.tree_at(lambda agent: agent.critic.layers[0].weight, agent, weight)


def loop(*stages, num_envs=2):
    return fx.anakin_loop(fx.chain(collect(num_envs=num_envs), *stages), 1)


def resumed(other, *, ahead=False):
    """The state of another algorithm, in that of rollout, identity, gae and minimize."""
    ours = loop(fx.identity(), fx.gae(), learn())
    state = other().init(AGENT, KEY)
    return ours.compile_step(state) if ahead else ours.step(state)


ODD_METRICS = r"stage 2 of 2, 'odd': metrics.*wanted a flat dict of scalars"
WRONG = {
    "a state that changes its structure": (
        odd_state(lambda state: {**state, "more": jnp.zeros(())}),
        fx.WiringError,
        r"stage 2 of 2, 'odd': update: state\['more'\]: wanted the structure.*no leaf, got a leaf",
    ),
    "a state that changes its shape": (
        odd_state(lambda state: {"count": state["count"][:1]}),
        fx.WiringError,
        r"'odd': update: state\['count'\]: .*float32\[2\], got float32\[1\]",
    ),
    "a state that changes its dtype": (
        odd_state(lambda state: {"count": state["count"].astype(int)}),
        fx.WiringError,
        r"'odd': update: state\['count'\]: .*float32\[2\], got int32\[2\]. .*astype",
    ),
    "a state that is None": (
        odd_state(lambda state: None),
        fx.WiringError,
        r"'odd': update: state\['count'\]: .*got no leaf",
    ),
    "an agent that changes its structure": (
        odd_agent(lambda agent: (agent, agent)),
        fx.WiringError,
        r"stage 2 of 2, 'odd': update: agent",
    ),
    "an agent that changes its dtype": (
        odd_agent(as_half),
        fx.WiringError,
        r"'odd': update: agent\.critic\.layers\[0\]\.weight: .*float32.*got float16",
    ),
    "metrics that are None": (odd_metrics(lambda: None), fx.WiringError, ODD_METRICS),
    "metrics that are a list": (odd_metrics(lambda: [jnp.ones(())]), fx.WiringError, ODD_METRICS),
    "metrics within metrics": (
        odd_metrics(lambda: {"loss": {"a": jnp.ones(())}}),
        fx.WiringError,
        r"'odd': metrics: 'loss': wanted a flat dict of scalars.*got a dict",
    ),
    "a metric that is a string": (
        odd_metrics(lambda: {"loss": "low"}),
        fx.WiringError,
        r"'odd': metrics: 'loss': wanted a flat dict of scalars.*got a str",
    ),
    "a metric that is None": (
        odd_metrics(lambda: {"loss": None}),
        fx.WiringError,
        r"'odd': metrics: 'loss': wanted a flat dict of scalars.*got None",
    ),
    "a metric that is no scalar": (
        odd_metrics(lambda: {"loss": jnp.zeros(3)}),
        fx.WiringError,
        r"'odd': metrics: 'loss': wanted a flat dict of scalars.*got \(3,\)",
    ),
    "a metric's name with a slash": (
        odd_metrics(lambda: {"loss/mean": jnp.ones(())}),
        fx.WiringError,
        r"'odd': metrics: 'loss/mean': .*without a slash",
    ),
    "a metric's name that is a number": (
        odd_metrics(lambda: {1: jnp.ones(())}),
        fx.WiringError,
        r"'odd': metrics: 1: .*names are strings",
    ),
    "a metric's name that is reserved": (
        odd_metrics(lambda: {"steps": jnp.ones(())}),
        fx.WiringError,
        r"'odd': metrics: 'steps': .*reserved",
    ),
    "a stage's name with a slash": (
        lambda: fx.chain(collect(), **{"my/gae": fx.gae()}),
        fx.WiringError,
        r"stage 2 of 2, 'my/gae': wanted a name without a slash.*Nest chains",
    ),
    "the state of another algorithm": (
        lambda: resumed(lambda: loop(fx.gae(), learn())),
        fx.WiringError,
        r"anakin_loop: state: .*of the stages rollout, identity, gae, minimize, got of rollout",
    ),
    "the state of another algorithm, compiled ahead": (
        lambda: resumed(lambda: loop(fx.gae(), learn()), ahead=True),
        fx.WiringError,
        r"anakin_loop: state: .*of the stages rollout, identity, gae, minimize",
    ),
    "the state of another optimizer": (
        lambda: resumed(
            lambda: loop(fx.identity(), fx.gae(), fx.minimize(fx.ppo_loss(), optax.adam(1e-2)))
        ),
        fx.WiringError,
        r"anakin_loop: state: state\['minimize'\]\[0\]\.\w+: wanted .*no leaf, got a leaf",
    ),
    "the state of another number of environments": (
        lambda: resumed(lambda: loop(fx.identity(), fx.gae(), learn(), num_envs=3)),
        fx.WiringError,
        r"anakin_loop: state: state\['rollout'\]\.runners.*\[2.*got .*\[3.*num_envs",
    ),
    "a window of more steps than there are": (
        lambda: train(collect(num_steps=8), fx.n_step_returns(n=32)),
        fx.HyperparameterError,
        r"n_step_returns: n: wanted at most the 8 steps of a trajectory, got 32\. .*n=None",
    ),
    "a warmup beyond the run": (
        lambda: fx.updates_in(1_000, num_envs=4, num_steps=8, warmup=2_000),
        fx.HyperparameterError,
        r"total_steps: wanted at least warmup, 2000: nothing is learnt before, got 1000",
    ),
    "an int for an agent's key": (
        lambda: fx.actor_critic(ENV, key=0),
        fx.WiringError,
        r"actor_critic: key: wanted one random key, got 0\. Pass jax\.random\.key",
    ),
    "no key for an agent": (lambda: fx.q_agent(ENV), TypeError, r"missing .*'key'"),
    "None for an agent's key": (
        lambda: fx.agents.gru_actor_critic(ENV, key=None),
        fx.WiringError,
        r"gru_actor_critic: key: wanted one random key, got None",
    ),
    "many keys for an agent": (
        lambda: fx.soft_actor_critic("Pendulum-v1", key=jax.random.split(KEY, 2)),
        fx.WiringError,
        r"soft_actor_critic: key: wanted one random key, got an array of shape \(2,\)",
    ),
    "an agent's key by position": (
        lambda: fx.actor_critic(ENV, KEY),
        fx.HyperparameterError,
        r"actor_critic: wanted keyword arguments after env, got 2 positional\. "
        r"Write actor_critic\(env, key=\.\.\.",
    ),
    "a recipe's key by position": (
        lambda: ppo.make("CartPole-v1", KEY),
        fx.HyperparameterError,
        r"recipes\.ppo\.make: wanted keyword arguments after env, got 2 positional",
    ),
    "sizes by position": (
        lambda: fx.rollout(ENV, 2, 4),
        fx.HyperparameterError,
        r"rollout: wanted keyword arguments after env, got 3 positional\. Write rollout\(env, num_",
    ),
    "misspelt option of an agent": (
        lambda: fx.actor_critic(ENV, key=KEY, memry="gru"),
        fx.HyperparameterError,
        r"actor_critic: memry: .*Did you mean 'memory'",
    ),
    "misspelt option of a Q-network": (
        lambda: fx.q_agent(ENV, key=KEY, width=(4,)),
        fx.HyperparameterError,
        r"q_agent: width: .*Did you mean 'widths'",
    ),
    "no key for a run": (
        lambda: fx.anakin_loop(fx.chain(collect()), 1)(AGENT),
        TypeError,
        r"missing .*'key'",
    ),
    "stages in the wrong order": (
        lambda: fx.chain(fx.gae(), collect()),
        fx.WiringError,
        r"stage 2 of 2, 'rollout': wanted no data, got Estimates .*put it first",
    ),
    "estimator missing": (
        lambda: fx.chain(collect(), learn()),
        fx.WiringError,
        r"'minimize': wanted Estimates, got Rollout \(from 'rollout'\)\. Put fx\.gae",
    ),
    "estimator missing before minibatch": (
        lambda: fx.chain(collect(), fx.minibatch(learn(), num_epochs=1, num_minibatches=1)),
        fx.WiringError,
        r"'minibatch': wanted Estimates, got Rollout .*Put fx\.gae",
    ),
    "rollout missing": (
        lambda: fx.anakin_loop(fx.chain(fx.gae(), learn()), 1),
        fx.WiringError,
        r"'gae': wanted Rollout, got nothing.*Put fx\.rollout\(\.\.\.\) before it",
    ),
    "misfit behind a stage of open type": (
        lambda: train(collect(), fx.identity(), learn()),
        fx.WiringError,
        r"stage 3 of 3, 'minimize': wanted Estimates, got Rollout",
    ),
    "factory not called": (
        lambda: fx.chain(collect(), fx.gae),
        fx.WiringError,
        r"stage 2 of 2: wanted a Transform.*Call it to make a stage: gae",
    ),
    "plain function as a stage": (
        lambda: fx.chain(collect(), plain_function),
        fx.WiringError,
        r"'plain_function'.*Decorate plain_function with @fx\.transform",
    ),
    "continuous agent, discrete environment": (
        lambda: train(
            collect(),
            agent=fx.agents.mlp_actor_critic(
                (ENV.observation_space, fx.spaces.Box(-1, 1, (1,))), key=KEY
            ),
        ),
        fx.WiringError,
        r"rollout: agent: actions: wanted actions of CartPole-v1's Discrete\(2\).*fx\.actor_critic",
    ),
    "discrete agent, continuous environment": (
        lambda: train(
            collect("Pendulum-v1"),
            agent=fx.agents.mlp_actor_critic(
                (PENDULUM.observation_space, fx.spaces.Discrete(2)), key=KEY
            ),
        ),
        fx.WiringError,
        r"rollout: agent: actions: wanted actions of Pendulum-v1",
    ),
    "agent for other observations": (
        lambda: train(collect(), agent=PENDULUM_AGENT),
        fx.WiringError,
        r"step: observation: wanted one array of 3 numbers, got float32\[4\].*Make the agent for",
    ),
    "minibatches that do not divide the steps": (
        lambda: train(collect(), fx.gae(), fx.minibatch(learn(), num_epochs=1, num_minibatches=3)),
        fx.WiringError,
        r"num_minibatches: wanted a divisor of the 8 rows.*got 3",
    ),
    "minibatches that do not divide the environments of an agent with memory": (
        lambda: train(
            collect(),
            fx.gae(),
            fx.minibatch(learn(), num_epochs=1, num_minibatches=4),
            agent=fx.agents.gru_actor_critic(ENV, key=KEY, width=4),
        ),
        fx.WiringError,
        r"num_minibatches: wanted a divisor of the 2 rows.*got 4",
    ),
    "misspelt hyperparameter": (
        lambda: fx.gae(discout=0.9),
        fx.HyperparameterError,
        r"gae: discout: .*Did you mean 'discount'",
    ),
    "misspelt hyperparameter of a loss": (
        lambda: fx.ppo_loss(clipp=0.1),
        fx.HyperparameterError,
        r"ppo_loss: clipp: .*Did you mean 'clip'",
    ),
    "misspelt size": (
        lambda: fx.rollout(ENV, num_env=2, num_steps=4),
        fx.HyperparameterError,
        r"rollout: num_env: .*Did you mean 'num_envs'",
    ),
    "misspelt option of a recipe": (
        lambda: ppo.make("CartPole-v1", key=KEY, learning_rat=0.1),
        fx.HyperparameterError,
        r"recipes\.ppo\.make: learning_rat: .*Did you mean 'learning_rate'",
    ),
    "positional hyperparameter": (
        lambda: fx.gae(0.99),
        fx.HyperparameterError,
        r"gae: wanted keyword arguments only.*gae\(discount=\.\.\., lambda_=\.\.\.\)",
    ),
    "agent without step": (
        lambda: train(collect(), agent=WithoutStep()),
        fx.WiringError,
        r"rollout: agent: wanted .*a WithoutStep without step",
    ),
    "agent whose step gives an output alone": (
        lambda: train(collect(), agent=OutputAlone(AGENT)),
        fx.WiringError,
        r"rollout: agent: step: wanted \(memory, Output\), got",
    ),
    "agent without unroll": (
        lambda: train(collect(), agent=WithoutUnroll()),
        fx.WiringError,
        r"rollout: agent: wanted .*a WithoutUnroll without unroll",
    ),
    "agent whose step gives three things": (
        lambda: train(collect(), agent=ThreeThings(AGENT)),
        fx.WiringError,
        r"rollout: agent: step: wanted \(memory, Output\), got a tuple of 3",
    ),
    "agent whose distribution is an array": (
        lambda: train(collect(), agent=WithoutDistribution(AGENT)),
        fx.WiringError,
        r"rollout: agent: step: distribution: wanted a distribution with sample, log_prob",
    ),
    "agent whose distribution is no PyTree": (
        lambda: train(collect(), agent=WithOpaque(AGENT)),
        fx.WiringError,
        r"rollout: agent: step: distribution: wanted a PyTree of arrays.*Opaque",
    ),
    "agent with one value for a trajectory": (
        lambda: train(collect(), fx.gae(), learn(), agent=OneValue(AGENT)),
        fx.WiringError,
        r"policy loss: agent: unroll: wanted outputs whose arrays begin with the axis of time",
    ),
    "agent whose unroll ignores resets": (
        lambda: fx.check_agent(NoResets(fx.agents.gru_actor_critic(ENV, key=KEY, width=4)), ENV),
        fx.WiringError,
        r"check_agent: agent: unroll: memory: wanted what repeated steps give.*resets",
    ),
    "policy gradient of a Q-network": (
        lambda: train(collect(), fx.gae(), learn(), agent=fx.q_agent(ENV, key=KEY)),
        fx.WiringError,
        r"wanted a stochastic policy.*a Greedy.*fx\.actor_critic\(env, key=key\).*fx\.q_loss",
    ),
    "Q-learning of an actor-critic": (
        lambda: fx.q_loss()(
            AGENT,
            fx.data.Targets(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3), int), jnp.zeros((2, 3))),
            KEY,
        ),
        fx.WiringError,
        r"q_loss: agent: wanted a Q-network.*lacks q_values.*fx\.q_agent\(env, key=key\)",
    ),
    "agent with a batched value": (
        lambda: train(collect(), agent=BatchedValue(AGENT)),
        fx.WiringError,
        r"rollout: agent: step: value: wanted a float of shape \(\)",
    ),
    "memory that changes shape": (
        lambda: train(collect(), agent=GrowingMemory(AGENT)),
        fx.WiringError,
        r"wanted a memory like initial_memory's, float32\[2\], got float32\[3\]",
    ),
    "transform that gives another type than it declares": (
        lambda: train(collect(), promises_estimates()),
        fx.WiringError,
        r"'promises_estimates': wanted the Estimates that it declares to return",
    ),
    "a distribution over fewer actions than there are": (
        lambda: train(
            collect("Acrobot-v1"),
            agent=fx.agents.mlp_actor_critic(
                (ACROBOT.observation_space, fx.spaces.Discrete(2)), key=KEY
            ),
        ),
        fx.WiringError,
        r"rollout: agent: actions: wanted a distribution over Acrobot-v1's 3 actions.*over 2",
    ),
    "a maker of stages for a stage": (
        lambda: fx.replay(fx.td_target, capacity=8, batch_size=2),
        fx.WiringError,
        r"replay: inner: wanted a Transform.*Call it to make a stage: td_target\(",
    ),
    "a schedule that gives a vector": (
        lambda: train(
            fx.rollout(
                ENV,
                num_envs=2,
                num_steps=2,
                explore=fx.epsilon_greedy(lambda steps: jnp.zeros(3) + steps),
            ),
            agent=fx.q_agent(ENV, key=KEY),
        ),
        fx.WiringError,
        r"epsilon_greedy: epsilon: wanted a schedule that gives one number.*\(3,\)",
    ),
    "values of actions that are real numbers": (
        lambda: fx.q_loss()(
            fx.q_agent(ENV, key=KEY),
            fx.data.Targets(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 1)), jnp.zeros((2, 3))),
            KEY,
        ),
        fx.WiringError,
        r"q_loss: data: action: wanted discrete actions.*q_critic_loss",
    ),
    "a flag that is a word": (
        lambda: fx.q_agent(ENV, key=KEY, dueling="yes"),
        fx.HyperparameterError,
        r"q_agent: dueling: wanted True or False, got 'yes'",
    ),
    "one width for several": (
        lambda: fx.q_agent(ENV, key=KEY, widths=64),
        fx.HyperparameterError,
        r"q_agent: widths: wanted a sequence of ints, got 64\. Pass a tuple",
    ),
    "fewer steps than the warmup": (
        lambda: dqn.make(key=KEY, total_steps=5_000),
        fx.HyperparameterError,
        r"total_steps: wanted at least warmup, 10000: nothing is learnt before, got 5000",
    ),
    "no step ahead of a stage that keeps data": (
        lambda: train(
            collect(),
            NoStep(),
            fx.replay(fx.identity(), capacity=8, batch_size=2),
        ),
        fx.WiringError,
        r"stage 2 of 3, 'no_step': wanted update to return Step",
    ),
    "update that returns no step": (
        lambda: train(collect(), NoStep()),
        fx.WiringError,
        r"stage 2 of 2, 'no_step': wanted update to return Step.*Return fx\.Step",
    ),
    "discount above 1": (
        lambda: fx.gae(discount=1.5),
        fx.HyperparameterError,
        r"gae: discount: wanted a number in \[0, 1\], got 1\.5",
    ),
    "lambda that is no number": (
        lambda: fx.gae(lambda_=float("nan")),
        fx.HyperparameterError,
        r"gae: lambda_: wanted a number in \[0, 1\], got nan",
    ),
    "discount as a string": (
        lambda: fx.gae(discount="0.9"),
        fx.HyperparameterError,
        r"gae: discount: wanted a number in \[0, 1\], got '0\.9' of type str",
    ),
    "clip of 0": (
        lambda: fx.ppo_loss(clip=0.0),
        fx.HyperparameterError,
        r"clipped_surrogate: clip: wanted a number > 0",
    ),
    "negative weight": (
        lambda: fx.ppo_loss(entropy_weight=-0.1),
        fx.HyperparameterError,
        r"ppo_loss: entropy_weight: wanted a number >= 0, got -0\.1",
    ),
    "no environments": (
        lambda: collect(num_envs=0),
        fx.HyperparameterError,
        r"rollout: num_envs: wanted an int of at least 1, got 0",
    ),
    "a size that is a float": (
        lambda: collect(num_steps=4.0),
        fx.HyperparameterError,
        r"rollout: num_steps: wanted an int",
    ),
    "unknown environment": (
        lambda: collect("CartPole-v2"),
        fx.EnvironmentSetupError,
        r"CartPole-v1",
    ),
    "loss not called": (
        lambda: fx.minimize(fx.ppo_loss, optax.sgd(1e-2)),
        fx.WiringError,
        r"minimize: loss: wanted a Loss, or a function.*got ppo_loss\. Call the loss",
    ),
    "part names nothing to train": (
        lambda: train(
            collect(),
            fx.gae(),
            fx.minimize(fx.ppo_loss(), optax.sgd(1e-2), part="encoding"),
        ),
        fx.WiringError,
        r"minimize: part: wanted a part of the agent that holds floating-point arrays",
    ),
    "part names a field that is not there": (
        lambda: train(
            collect(),
            fx.gae(),
            fx.minimize(fx.ppo_loss(), optax.sgd(1e-2), part="crtic"),
        ),
        fx.WiringError,
        r"minimize: part: .*'crtic'.*Name a field",
    ),
    "an int for a key": (
        lambda: train(collect(), key=0),
        fx.WiringError,
        r"anakin_loop: key: wanted one random key, got 0\. Pass jax\.random\.key",
    ),
    "many keys for one": (
        lambda: train(collect(), key=jax.random.split(KEY, 3)),
        fx.WiringError,
        r"anakin_loop: key: .*\(3,\).*jax\.vmap",
    ),
    "agent and key swapped": (
        lambda: fx.anakin_loop(fx.chain(collect()), 1)(KEY, AGENT),
        fx.WiringError,
        r"anakin_loop: agent: wanted an agent.*the agent first",
    ),
    "an agent for a state": (
        lambda: fx.anakin_loop(fx.chain(collect()), 1).step(AGENT),
        fx.WiringError,
        r"anakin_loop: state: wanted a TrainState, got a Feedforward.*train\.init",
    ),
    "too few steps for one update": (
        lambda: ppo.make("CartPole-v1", key=KEY, total_steps=100),
        fx.HyperparameterError,
        r"total_steps: wanted at least one update: num_envs \* num_steps = 512",
    ),
    "loss term that is no scalar": (
        lambda: train(collect(), fx.gae(), fx.minimize(unreduced(), optax.sgd(1e-2))),
        fx.WiringError,
        r"loss term 'unreduced': wanted a float scalar, got an array of shape .*Take the mean",
    ),
    "a term twice": (
        lambda: train(
            collect(), fx.gae(), fx.minimize(fx.entropy() + fx.entropy(), optax.sgd(1e-2))
        ),
        fx.WiringError,
        r"loss: metrics: .*'entropy' twice",
    ),
    "a period of 0": (
        lambda: fx.every(0, fx.identity()),
        fx.HyperparameterError,
        r"every: period: wanted an int of at least 1",
    ),
    "a stage that is not there": (
        lambda: fx.chain(collect(), fx.gae())["gea"],
        fx.WiringError,
        r"chain: wanted .*'rollout', 'gae'.*got 'gea'",
    ),
}
PENDULUM = fx.make("Pendulum-v1")
SEEN_BY_TYPE_CHECKERS = {
    "metrics that are None",
    "metrics that are a list",
    "metrics within metrics",
    "a metric that is a string",
    "a metric that is None",
    "a metric's name that is a number",
    "a maker of stages for a stage",
    "a flag that is a word",
    "one width for several",
    "transform that gives another type than it declares",
    "discount as a string",
    "a size that is a float",
    "an int for a key",
    "many keys for one",
    "agent and key swapped",
    "an agent for a state",
    "loss not called",
    "loss term that is no scalar",
    "agent whose distribution is an array",
    "agent with a batched value",
    "a period of 0",
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_program_is_told_so(name, caplog):
    check_told(*WRONG[name], caplog, seen_by_type_checkers=name in SEEN_BY_TYPE_CHECKERS)


def test_a_bug_in_an_agent_shows_its_own_traceback():
    """With a note of where it came up, not an error that guesses at it."""
    with pytest.raises(TypeError, match="dot_general") as raised:
        train(collect(), agent=Buggy(AGENT))
    assert re.search(r"rollout: agent: step: .*Buggy's own code", raised.value.__notes__[0])


def test_a_right_program_is_compiled(caplog):
    anakin._train.clear_cache()  # Another test may have compiled the same program.
    with jax.log_compiles():
        train(collect(), fx.gae(), learn())
    assert compiled(caplog)


def test_there_are_enough_of_them():
    assert len(WRONG) >= 20
