"""Random programs of lerax_fx: chains of random stages, on random agents and environments.

Most are wrong. Each has to end in a `LeraxError`, or to train: one update without a raw error from
inside JAX and without a NaN in the agent.

    python -m tests.fuzz.programs --seeds 0 200  # a line of JSON each: [seed, outcome]
"""

import argparse
import json
import random
import traceback
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import lerax_fx as fx

KEY = jax.random.key(0)
Choice = Callable[[random.Random], Any]

# What a number may be replaced by: most of it is out of range, or no number at all.
ODD_NUMBERS = (-1.0, 0.0, 0.5, 1.0, 2.0, 1e30, np.nan, "a", None, True, 3, np.ones(2), [0.1])
ODD_COUNTS = (0, 1, 2, 3, 7, -1, 2.0, True, None, "2", np.int32(2))


def number(random: random.Random, usual: float) -> Any:
    return random.choice(ODD_NUMBERS) if random.random() < 0.08 else usual


def count(random: random.Random, usual: int) -> Any:
    return random.choice(ODD_COUNTS) if random.random() < 0.08 else usual


class Walk(fx.Env):
    """A random walk whose methods may break the contract in one way."""

    fault: str = eqx.field(static=True, default="")

    @property
    def action_space(self):
        return fx.spaces.Discrete(2)

    @property
    def observation_space(self):
        return fx.spaces.Box(0.0, 1.0, (2,))

    def initial(self, *, key):
        return jnp.zeros((), jnp.int32) if self.fault != "state" else 0

    def transition(self, state, action, *, key):
        following = jnp.clip(state + 2 * action - 1, 0, 5)
        return following.astype(float) if self.fault == "dtype" else following

    def observation(self, state, *, key):
        observation = jnp.stack([state / 5, 1.0])
        return {"list": [0.0, 1.0], "shape": observation[:1]}.get(self.fault, observation)

    def reward(self, state, action, next_state, *, key):
        reward = (next_state == 5).astype(float)
        return {"reward": reward[None], "int": 1, "nan": reward * jnp.nan}.get(self.fault, reward)

    def terminal(self, state, *, key):
        return {"terminal": state}.get(self.fault, state == 5)


FAULTS = ("state", "dtype", "list", "shape", "reward", "int", "terminal")


def environment(random: random.Random) -> Any:
    choice = random.random()
    if choice < 0.15:
        return Walk(random.choice(FAULTS))
    if choice < 0.3:
        wrapper: Any = random.choice(
            [
                lambda env: fx.envs.TimeLimit(env, 3),
                fx.envs.NormalizeReward,
                fx.envs.ClipAction,
                fx.envs.RescaleAction,
                fx.envs.FlattenObservation,
                lambda env: fx.envs.IrregularTime(env, 2),
                lambda env: fx.envs.SelectObservation(env, (0,)),
                fx.envs.mask_velocities,
            ]
        )
        return wrapper(random.choice([Walk(), "CartPole-v1", "Pendulum-v1"]))
    if choice < 0.33:
        return random.choice(["CartPole-v0", 3, None])
    return random.choice([Walk(), Walk(), "CartPole-v1", "Pendulum-v1"])


AGENTS: list[Choice] = [
    lambda r: fx.actor_critic,
    lambda r: fx.agents.gru_actor_critic,
    lambda r: fx.q_agent,
    lambda r: fx.agents.gru_q_agent,
    lambda r: fx.categorical_q_agent,
    lambda r: fx.quantile_q_agent,
    lambda r: fx.deterministic_actor_critic,
    lambda r: fx.soft_actor_critic,
]


def agent_for(random: random.Random, env: Any) -> Any:
    """Of any constructor, most often for this environment."""
    env = environment(random) if random.random() < 0.1 else env
    return random.choice(AGENTS)(random)(env, key=KEY)


class Faulty(eqx.Module):
    """An agent around another, wrong in one way."""

    inner: Any
    fault: str = eqx.field(static=True)

    def initial_memory(self):
        return jnp.zeros(2) if self.fault == "memory" else self.inner.initial_memory()

    def step(self, memory, observation, key):
        if self.fault == "memory":
            return jnp.zeros(3), self.inner.step(self.inner.initial_memory(), observation, key)[1]
        memory, output = self.inner.step(memory, observation, key)
        if self.fault == "pair":
            return output
        if self.fault == "value":
            output = fx.agents.Output(output.distribution, output.value[None])
        if self.fault == "distribution":
            output = fx.agents.Output(None, output.value)
        return memory, output

    def unroll(self, memory, observations, resets, key):
        memory, output = self.inner.unroll(memory, observations, resets, key)
        return output if self.fault == "unroll" else (memory, output)


class Changes(fx.Transform[Any, Any]):
    """A stage that breaks its contract in one way."""

    fault: str = eqx.field(static=True)

    def init(self, agent, data, key):
        return 0 if self.fault == "init" else jnp.zeros(2)

    def update(self, agent, state, data, key):
        metrics = {
            "none": None,
            "list": [1.0],
            "nested": {"a": {"b": 1.0}},
            "text": {"a": "b"},
            "vector": {"a": jnp.zeros(3)},
            "slash": {"a/b": 1.0},
            "steps": {"steps": 1},
            "names": {1: 1.0},
        }.get(self.fault, {})
        state = {"shape": jnp.zeros(3), "dtype": jnp.zeros(2, int), "tree": (state,)}.get(
            self.fault, state
        )
        if self.fault == "agent":
            agent = jax.tree.map(lambda x: x[None] if eqx.is_array(x) else x, agent)
        if self.fault == "half":
            agent = jax.tree.map(
                lambda x: x.astype(jnp.bfloat16) if eqx.is_inexact_array(x) else x, agent
            )
        if self.fault == "step":
            return agent, state, data
        return fx.Step(agent, state, None if self.fault == "out" else data, metrics)


CONTRACTS = (
    *("none", "list", "nested", "text", "vector", "slash", "steps", "names"),
    *("shape", "dtype", "tree", "agent", "half", "step", "out", "init"),
)


def loss(random: random.Random) -> Any:
    r = random
    losses: list[Callable[[], Any]] = [
        lambda: fx.ppo_loss(clip=number(r, 0.2), value_weight=number(r, 0.5)),
        lambda: fx.policy_gradient() + number(r, 0.5) * fx.value_loss(),
        lambda: fx.q_loss(huber=number(r, 1.0)),
        lambda: fx.c51_loss(),
        lambda: fx.quantile_regression_loss(huber=number(r, 1.0)),
        lambda: fx.q_critic_loss(),
        lambda: fx.dpg_loss(),
        lambda: fx.sac_policy_loss(),
        lambda: fx.temperature_loss(),
        lambda: fx.q_loss() + fx.entropy(),
        lambda: fx.ppo_loss,
        lambda: lambda agent, data, key: 1.0,
        lambda: lambda agent, data, key: None,
        lambda: lambda agent, data, key: jnp.zeros(3),
        lambda: lambda agent, data: jnp.zeros(()),
    ]
    usual = losses[: 9 if random.random() < 0.85 else None]
    return random.choice(usual)()


def optimizer(random: random.Random) -> Any:
    makers: list[Callable[[], Any]] = [
        lambda: fx.optimizer(optax.adam, number(random, 1e-3)),
        lambda: optax.sgd(1e-2),
        lambda: fx.optimizer(optax.adam, fx.schedule(optax.linear_schedule, 1e-3, 0.0, 10)),
        lambda: optax.lbfgs(),
        lambda: optax.adam,
        lambda: 1e-3,
    ]
    return random.choice(makers[: 3 if random.random() < 0.9 else None])()


def target(random: random.Random) -> Any:
    makers: Any = [fx.td_target, fx.distributional_td_target, fx.td3_target, fx.sac_target]
    options: dict[str, Any] = {"discount": number(random, 0.9), "n": count(random, 1)}
    if random.random() < 0.5:
        options["update"] = random.choice(
            [fx.periodic(2), fx.polyak(0.1), fx.polyak, 0.1] if random.random() < 0.1 else
            [fx.periodic(2), fx.polyak(0.1)]
        )  # fmt: skip
    return random.choice(makers)(**options)


def minimize(random: random.Random) -> Any:
    part = random.choice(["critic", "actor", "actr", 3]) if random.random() < 0.2 else ()
    return fx.minimize(loss(random), optimizer(random), part=part)


def learn(random: random.Random) -> Any:
    stages = [minimize(random)]
    if random.random() < 0.6:
        stages.insert(0, target(random))
    if random.random() < 0.2:
        stages.insert(0, estimator(random))
    return fx.chain(*stages)


def estimator(random: random.Random) -> Any:
    r = random
    makers: list[Callable[[], Any]] = [
        lambda: fx.gae(discount=number(r, 0.9), lambda_=number(r, 0.9)),
        lambda: fx.n_step_returns(n=count(r, 2)),
        lambda: fx.vtrace(clip_rho=number(r, 1.0)),
        lambda: fx.q_lambda_returns(lambda_=number(r, 0.9)),
        lambda: fx.normalize_advantage(),
        lambda: fx.recompute_values(),
        lambda: fx.gae,
    ]
    return r.choice(makers[: 6 if r.random() < 0.95 else None])()


def wrapper(random: random.Random, inner: Any) -> Any:
    r = random
    makers: list[Callable[[], Any]] = [
        lambda: fx.minibatch(inner, num_epochs=count(r, 1), num_minibatches=count(r, 2)),
        lambda: fx.minibatch(inner, num_epochs=1, num_minibatches=2, whole_trajectories=True),
        lambda: fx.replay(
            inner,
            capacity=count(r, 32),
            batch_size=count(r, 4),
            length=count(r, 2),
            warmup=None if r.random() < 0.8 else count(r, 8),
            sampling=r.choice([None, None, fx.prioritized(), fx.uniform]),
        ),
        lambda: fx.repeat(count(r, 2), inner),
        lambda: fx.every(count(r, 2), inner),
        lambda: inner,
    ]
    return r.choice(makers)()


def rollout(random: random.Random, env: Any) -> Any:
    explore = None
    if random.random() < 0.4:
        explore = random.choice(
            [
                fx.epsilon_greedy(0.1),
                fx.gaussian_noise(0.1),
                fx.epsilon_greedy(optax.linear_schedule(1.0, 0.0, 10)),
                fx.epsilon_greedy(lambda steps: jnp.zeros(2)),
            ]
        )
    return fx.rollout(env, num_envs=count(random, 2), num_steps=count(random, 4), explore=explore)


# What fits together: an agent's constructor, what comes before the loss, the loss.
FAMILIES: dict[str, tuple[Choice, list[Choice], Choice]] = {
    "ppo": (AGENTS[0], [], lambda r: fx.ppo_loss(clip=number(r, 0.2))),
    "recurrent ppo": (AGENTS[1], [], lambda r: fx.ppo_loss(value_weight=number(r, 0.5))),
    "dqn": (AGENTS[2], [lambda r: fx.td_target(n=count(r, 1))], lambda r: fx.q_loss()),
    "recurrent dqn": (AGENTS[3], [lambda r: fx.td_target(double=True)], lambda r: fx.q_loss()),
    "c51": (AGENTS[4], [lambda r: fx.distributional_td_target()], lambda r: fx.c51_loss()),
    "qr_dqn": (
        AGENTS[5],
        [lambda r: fx.distributional_td_target(n=count(r, 2))],
        lambda r: fx.quantile_regression_loss(),
    ),
    "td3": (AGENTS[6], [lambda r: fx.td3_target(noise=number(r, 0.2))], lambda r: fx.dpg_loss()),
    "sac": (AGENTS[7], [lambda r: fx.sac_target()], lambda r: fx.sac_policy_loss()),
}


def member(random: random.Random) -> tuple[Any, Any]:
    """A program of stages that fit, but for the one or two things that do not."""
    r = random
    name = r.choice(list(FAMILIES))
    constructor, before, make_loss = FAMILIES[name]
    env: Any = "Pendulum-v1" if name in ("td3", "sac") else r.choice([Walk(), "CartPole-v1"])
    env = environment(r) if r.random() < 0.2 else env
    chosen = loss(r) if r.random() < 0.15 else make_loss(r)
    stages: list[Any] = [choice(r) for choice in before]
    stages.append(fx.minimize(chosen, optimizer(r), part=() if r.random() < 0.9 else "critic"))
    if r.random() < 0.15:
        stages.insert(r.randrange(len(stages) + 1), Changes(r.choice(CONTRACTS)))
    inner = fx.chain(*stages)
    if before:
        learning: Any = fx.replay(
            inner, capacity=64, batch_size=count(r, 4), length=r.choice([1, 2, 4, 4, 8])
        )
        stages = [rollout(r, env), learning]
    else:
        learning = fx.minibatch(inner, num_epochs=1, num_minibatches=r.choice([1, 2, 3]))
        stages = [rollout(r, env), estimator(r), learning]
    if r.random() < 0.2:
        stages[-1] = wrapper(r, stages[-1])
    agent = agent_for(r, env) if r.random() < 0.2 else constructor(r)(env, key=KEY)
    if r.random() < 0.1:
        agent = Faulty(agent, r.choice(["memory", "pair", "value", "distribution", "unroll"]))
    return fx.chain(*stages), agent


def program(seed: int) -> tuple[Any, Any]:
    """A random algorithm and the agent that it is to train."""
    r = random.Random(seed)
    if r.random() < 0.7:
        return member(r)
    env = environment(r)
    stages = [] if r.random() < 0.03 else [rollout(r, env)]
    if r.random() < 0.6:
        stages.append(estimator(r))
    if r.random() < 0.15:
        stages.append(Changes(r.choice(CONTRACTS)))
    inner = learn(r) if r.random() < 0.8 else minimize(r)
    stages.append(wrapper(r, wrapper(r, inner)) if r.random() < 0.3 else wrapper(r, inner))
    if r.random() < 0.1:
        r.shuffle(stages)
    return fx.chain(*stages), agent_for(r, env)


def outcome(seed: int, *, updates: int = 2) -> str:
    """`"trains"`, `"refused: ..."` with the error's text, or `"WRONG: ..."`."""
    try:
        algorithm, agent = program(seed)
        train = fx.anakin_loop(algorithm, updates)
        agent, metrics = train(agent, KEY)
    except fx.LeraxError as error:
        return f"refused: {error}"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error).splitlines()[0] if str(error) else ""
        return f"WRONG: {type(error).__name__}: {text} ({where.filename}:{where.lineno})"
    numbers = [x for x in jax.tree.leaves(agent) if eqx.is_inexact_array(x)]
    if not all(bool(jnp.all(jnp.isfinite(x))) for x in numbers):
        return f"WRONG: not finite, metrics {metrics}"
    return "trains"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 100))
    first, last = parser.parse_args().seeds
    for seed in range(first, last):
        print(json.dumps([seed, outcome(seed)]), flush=True)


if __name__ == "__main__":
    main()
