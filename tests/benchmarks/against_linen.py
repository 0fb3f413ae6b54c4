"""The pieces of PPO with networks of this library against the same with Flax Linen.

    pip install flax
    python tests/benchmarks/against_linen.py

The rows are those of EqxRL's table (https://github.com/dorjeduck/eqxrl): one environment,
CartPole-v1, one step; the forward pass of policy and value, the step with the action
sampled, a gradient step on what it gave, and both together. They are written once, for
`apply(params, observation) -> (distribution, value)`: what differs is the network and the PyTree
that holds its weights. Each row is measured inside of a scanned loop, and with one jitted
call a step from Python; there the agent is the module itself, or `fx.agents.packed`. The last row
is the library's own full step, `rollout`, `gae` and `minimize` in a chain compiled by
`compile_step`, against Linen's.

On a busy machine, `NPROC=1` and `--cpu-time` count what the process itself took.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import flax.linen as nn
import gymnax
import jax
import jax.numpy as jnp
import optax
from comparison import machine, prepare, ratios

import lerax_fx as fx

ENV = "CartPole-v1"
WIDTH = 64
LEARNING_RATE = 2.5e-4
Apply = Callable[[Any, Any], tuple[Any, Any]]  # to a distribution and a value
Call = Callable[[Any], Any]


class LinenActorCritic(nn.Module):
    """The networks of `fx.actor_critic` and its distribution, as PureJaxRL writes them."""

    @nn.compact
    def __call__(self, x: Any) -> tuple[distrax.Distribution, Any]:
        actor = nn.tanh(nn.Dense(WIDTH)(x))
        actor = nn.tanh(nn.Dense(WIDTH)(actor))
        logits = nn.Dense(2)(actor)
        critic = nn.tanh(nn.Dense(WIDTH)(x))
        critic = nn.tanh(nn.Dense(WIDTH)(critic))
        return distrax.Categorical(logits), nn.Dense(1)(critic)[0]


class State(NamedTuple):
    """What is carried from one step to the next; the last three are of the last step."""

    params: Any
    optimizer: Any
    key: Any
    environment: Any
    observation: Any
    before: Any
    action: Any
    reward: Any
    log_prob: Any


class Pieces(NamedTuple):
    start: State
    rows: dict[str, Callable[[State], Any]]


def apply_ours(agent: Any, observation: Any) -> tuple[distrax.Distribution, Any]:
    output = agent.step(None, observation, jax.random.key(0))[1]
    return output.distribution, output.value


def pieces(params: Any, apply: Apply, optimizer: optax.GradientTransformation) -> Pieces:
    """Where a run begins, and each row as a function of its state."""
    environment, env_params = gymnax.make(ENV)

    def forward(state: State) -> Any:
        distribution, value = apply(state.params, state.observation)
        return distribution.logits, value

    def collect(state: State) -> State:
        key, action_key, step_key = jax.random.split(state.key, 3)
        distribution, _ = apply(state.params, state.observation)
        action = distribution.sample(seed=action_key)
        observation, following, reward, *_ = environment.step(
            step_key, state.environment, action, env_params
        )
        return state._replace(
            key=key,
            environment=following,
            observation=observation,
            before=state.observation,
            action=action,
            reward=reward,
            log_prob=distribution.log_prob(action),
        )

    def update(state: State) -> State:
        _, following = apply(state.params, state.observation)
        target = state.reward + 0.99 * following

        def loss(params: Any) -> Any:
            distribution, value = apply(params, state.before)
            ratio = jnp.exp(distribution.log_prob(state.action) - state.log_prob)
            advantage = jax.lax.stop_gradient(target - value)
            clipped = jnp.clip(ratio, 0.8, 1.2) * advantage
            surrogate = -jnp.minimum(ratio * advantage, clipped)
            entropy = distribution.entropy()
            return surrogate + 0.25 * (value - target) ** 2 - 0.01 * entropy

        gradient = jax.grad(loss)(state.params)
        updates, after = optimizer.update(gradient, state.optimizer, state.params)
        return state._replace(params=optax.apply_updates(state.params, updates), optimizer=after)

    def full(state: State) -> State:
        return update(collect(state))

    def begin(key: Any) -> State:
        observation, first = environment.reset(key, env_params)
        zero = jnp.zeros(())
        environment_state = jax.tree.map(jnp.asarray, first)
        start = State(
            params,
            optimizer.init(params),
            key,
            environment_state,
            observation,
            observation,
            jnp.zeros((), jnp.int32),
            zero,
            zero,
        )
        # As they are after a step: then no second program is compiled.
        return jax.tree.map(lambda x, y: jnp.asarray(x, y.dtype), start, collect(start))

    rows = {"full step": full, "forward pass": forward, "collection": collect, "update": update}
    return Pieces(begin(jax.random.key(0)), rows)


def one_call_a_step(row: Callable[[State], Any], start: State, steps: int) -> Callable[[], Any]:
    step = jax.jit(row)
    carries = isinstance(jax.eval_shape(row, start), State)

    def run() -> Any:
        state, out = start, None
        for _ in range(steps):
            out = step(state)
            state = out if carries else state
        return out

    return run


def in_a_loop(row: Callable[[State], Any], start: State, steps: int) -> Callable[[], Any]:
    def step(state: State, _: None) -> tuple[State, Any]:
        out = row(state)
        if isinstance(out, State):
            return out, None
        # Fed back, or it would be the same in every step, and done once.
        return state._replace(observation=state.observation + 1e-9 * out[1]), None

    run = jax.jit(lambda state: jax.lax.scan(step, state, None, steps)[0])
    return lambda: run(start)


def whole_step_of_stages(steps: int) -> Callable[[], Any]:
    """The library's own full step, called from Python."""
    learn = fx.minimize(fx.ppo_loss(), fx.optimizer(optax.adam, LEARNING_RATE))
    algorithm = fx.chain(fx.rollout(ENV, num_envs=1, num_steps=1), fx.gae(), learn)
    train = fx.anakin_loop(algorithm, 1)
    agent = fx.actor_critic(ENV, key=jax.random.key(0))
    start = train.init(fx.agents.packed(agent), jax.random.key(0))
    step = train.compile_step(start)

    def run() -> Any:
        state = start
        for _ in range(steps):
            state, _ = step(state)
        return state

    return run


def measure(
    runs: dict[str, Callable[[], Any]], steps: int, repeats: int, clock: Callable[[], float]
) -> dict[str, Any]:
    """Microseconds a step, in turns; `Linen` is what the others are compared with."""
    for run in runs.values():
        jax.block_until_ready(run())
    took: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats):
        names = list(runs) if repeat % 2 else list(runs)[::-1]
        for name in names:
            began = clock()
            jax.block_until_ready(runs[name]())
            took[name].append((clock() - began) / steps * 1e6)
    return {
        "microseconds": {name: statistics.median(each) for name, each in took.items()},
        "ratio": {
            name: ratios(each, took["Linen"]) for name, each in took.items() if name != "Linen"
        },
    }


def show(title: str, rows: dict[str, dict[str, Any]]) -> None:
    print(title)
    for name, row in rows.items():
        print(f"  {name:<14} Linen {row['microseconds']['Linen']:8.2f} us")
        for other, ratio in row["ratio"].items():
            spread = f"{ratio['median']:5.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]"
            print(f"    {other:<12} {row['microseconds'][other]:12.2f} us  {spread}")


def main() -> None:
    parser = argparse.ArgumentParser(description="PPO's pieces here against Flax Linen's.")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--loop-steps", type=int, default=20_000)
    parser.add_argument("--cpu-time", action="store_true", help="instead of the wall clock's")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    prepare()
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    key = jax.random.key(0)
    network = LinenActorCritic()
    agent = fx.actor_critic(ENV, key=key)
    adam = optax.adam(LEARNING_RATE)
    linen = pieces(network.init(key, jnp.zeros(4)), network.apply, adam)
    module = pieces(agent, apply_ours, adam)
    packed = pieces(fx.agents.packed(agent), apply_ours, adam)
    results: dict[str, dict[str, Any]] = {"inside of a loop": {}, "one jitted call a step": {}}
    for name in linen.rows:
        looped = {
            "lerax_fx": in_a_loop(module.rows[name], module.start, chosen.loop_steps),
            "Linen": in_a_loop(linen.rows[name], linen.start, chosen.loop_steps),
        }
        results["inside of a loop"][name] = measure(
            looped, chosen.loop_steps, chosen.repeats, clock
        )
        called = {
            "fx.agents.packed": one_call_a_step(packed.rows[name], packed.start, chosen.calls),
            "module": one_call_a_step(module.rows[name], module.start, chosen.calls),
            "Linen": one_call_a_step(linen.rows[name], linen.start, chosen.calls),
        }
        if name == "full step":
            called["compile_step"] = whole_step_of_stages(chosen.calls)
        results["one jitted call a step"][name] = measure(
            called, chosen.calls, chosen.repeats, clock
        )
    if chosen.json:
        print(json.dumps({"machine": machine(), "results": results}))
        return
    for title, rows in results.items():
        show(title, rows)


if __name__ == "__main__":
    main()
