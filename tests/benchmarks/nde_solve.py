"""What solving a neural ODE costs.

    python tests/benchmarks/nde_solve.py

Forward and gradient of a trajectory (64 environments, 128 steps, latent 16, one hidden layer
of 64), against a loop of the same method written by hand, and against diffeqsolve with Tsit5
and a PID controller called once per step; one step of acting with a neural CDE after 16, 256
and 4096 observations, against solving the window of history again. Programs run one after the
other in the same process, in turns at going first; ratios are of each repetition by itself.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from comparison import in_turn, machine, ratios

import lerax_fx as fx
from lerax_fx.agents import MLP

ENVS, STEPS, LATENT, HIDDEN, DT = 64, 128, 16, 64, 0.1
KEY = jax.random.key(0)


def by_hand(method: str) -> Callable[..., Any]:
    """A loop that knows its method and nothing else."""

    def heun(f: Any, y: Any, dt: Any) -> Any:
        k1 = f(y)
        k2 = f(y + dt * k1)
        return y + dt / 2 * (k1 + k2)

    def rk4(f: Any, y: Any, dt: Any) -> Any:
        k1 = f(y)
        k2 = f(y + dt / 2 * k1)
        k3 = f(y + dt / 2 * k2)
        k4 = f(y + dt * k3)
        return y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    step = {"heun": heun, "rk4": rk4}[method]

    def states(f: Any, y: Any, dts: Any) -> Any:
        def advance(y: Any, dt: Any) -> Any:
            y = step(f, y, dt)
            return y, y

        return jax.lax.scan(advance, y, dts)[1]

    return states


def ours(solver: Any, **options: Any) -> Callable[..., Any]:
    def states(f: Any, y: Any, dts: Any) -> Any:
        field = Autonomous(f)
        return fx.nde.nde_solve.function(field, y, dts, solver=solver, **options).states

    return states


class Autonomous(eqx.Module):
    f: Any

    def __call__(self, t: Any, y: Any) -> Any:
        return self.f(y)


def diffrax_each_step(f: Any, y: Any, dts: Any) -> Any:
    term = diffrax.ODETerm(lambda t, y, f: f(y))
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-6)

    def advance(y: Any, dt: Any) -> Any:
        y = diffrax.diffeqsolve(
            term, diffrax.Tsit5(), 0.0, dt, None, y, args=f, stepsize_controller=controller
        ).ys[0]
        return y, y

    return jax.lax.scan(advance, y, dts)[1]


def trajectories(states: Callable[..., Any]) -> Callable[..., Any]:
    """The program: a loss of all states, and its gradient."""
    y = jax.random.normal(jax.random.key(1), (ENVS, LATENT))
    dts = jnp.full((ENVS, STEPS), DT)

    @jax.jit
    @jax.value_and_grad
    def program(f: Any) -> Any:
        return jnp.mean(jax.vmap(states, (None, 0, 0))(f, y, dts) ** 2)

    return lambda: program(NETWORK)


NETWORK = MLP((LATENT, HIDDEN, LATENT), key=KEY)


def acting(window: int) -> dict[str, Callable[..., Any]]:
    """One step for all environments after `window` observations, incrementally and by
    solving the window again, as Lerax did.
    """
    spaces = fx.spaces.Box(-1.0, 1.0, (4,)), fx.spaces.Discrete(2)
    agent = fx.nde.cde_actor_critic(spaces, key=KEY, width=LATENT, hidden=HIDDEN, shared=True)
    (network,) = agent.networks
    history = jax.random.uniform(KEY, (ENVS, window, 4))
    never = jnp.zeros(window, bool)

    def remember(history: Any) -> Any:
        return agent.unroll(agent.initial_memory(), history, never, KEY)[0]

    memory = jax.jit(jax.vmap(remember))(history)

    @jax.jit
    def step(agent: Any, memory: Any, observation: Any) -> Any:
        memory, output = jax.vmap(agent.step, in_axes=(0, 0, None))(memory, observation, KEY)
        return memory, jax.vmap(lambda d: d.mode())(output.distribution), output.value

    @jax.jit
    def again(agent: Any, history: Any) -> Any:
        def one(history: Any) -> Any:
            controls = jax.vmap(lambda x: network.torso(network.encoding(x)))(history)
            times = jnp.arange(float(window))
            path = diffrax.LinearInterpolation(
                times, jnp.concatenate([times[:, None], controls], axis=1)
            )
            term = diffrax.ControlTerm(lambda t, y, args: network.field(t, y), path).to_ode()
            state = diffrax.diffeqsolve(
                term,
                diffrax.Tsit5(),
                times[0],
                times[-1],
                None,
                network.start(controls[0]),
                stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-6),
                max_steps=None,
                adjoint=diffrax.ForwardMode(),
            ).ys[0]
            return agent.policy(agent.actor(state)).mode(), agent.critic(state)

        return jax.vmap(one)(history)

    return {
        "one interval": lambda: step(agent, memory, history[:, -1]),
        "window again": lambda: again(agent, history),
    }


def seconds(programs: dict[str, Callable[..., Any]], repeats: int) -> dict[str, list[float]]:
    """Of one call, `repeats` times in turns; each is called so often that it takes 50 ms."""
    counts: dict[str, int] = {}
    for name, program in programs.items():
        jax.block_until_ready(program())  # compiles
        began = time.perf_counter()
        jax.block_until_ready(program())
        counts[name] = max(1, round(0.05 / (time.perf_counter() - began)))
    took: dict[str, list[float]] = {name: [] for name in programs}
    for repeat in range(repeats):
        for name in in_turn(programs, repeat):
            began = time.perf_counter()
            for _ in range(counts[name]):
                jax.block_until_ready(programs[name]())
            took[name].append((time.perf_counter() - began) / counts[name])
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--windows", type=int, nargs="*", default=[16, 256, 4096])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    solved = seconds(
        {
            "Heun by hand": trajectories(by_hand("heun")),
            "Heun": trajectories(ours("heun")),
            "Heun, recompute": trajectories(ours("heun", adjoint="recompute")),
            "RK4 by hand": trajectories(by_hand("rk4")),
            "RK4": trajectories(ours("rk4")),
            "RK4, recompute": trajectories(ours("rk4", adjoint="recompute")),
            "Tsit5": trajectories(ours("tsit5")),
            "diffeqsolve, Tsit5 and PID, each step": trajectories(diffrax_each_step),
        },
        options.repeats,
    )
    pairs = (
        ("Heun", "Heun by hand"),
        ("RK4", "RK4 by hand"),
        *(("diffeqsolve, Tsit5 and PID, each step", name) for name in ("Heun", "RK4", "Tsit5")),
    )
    compared = {f"{a} / {b}": ratios(solved[a], solved[b]) for a, b in pairs}
    acted = {
        f"{name}, after {window}": statistics.median(times)
        for window in options.windows
        for name, times in seconds(acting(window), options.repeats).items()
    }
    medians = {name: statistics.median(times) for name, times in solved.items()}
    if options.json:
        result = {"trajectory": medians, "ratios": compared, "acting": acted}
        print(json.dumps({"machine": machine(), **result}))
        return
    for name, took in {**medians, **acted}.items():
        print(f"{name:<45}{1e3 * took:10.3f} ms")
    for name, ratio in compared.items():
        print(f"{name:<60}{ratio['median']:7.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]")


if __name__ == "__main__":
    main()
