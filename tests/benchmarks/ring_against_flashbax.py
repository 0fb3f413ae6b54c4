"""The memory of `fx.replay` against flashbax's, without an agent: what adding and drawing cost.

    pip install flashbax
    python tests/benchmarks/ring_against_flashbax.py

In a scan, as in a training loop: each of its steps adds one step of 10 environments and
draws 128 steps; prioritised, it gives those new priorities as well. Flashbax's flat buffer
keeps each observation once, and takes for the next observation of a step the observation
after it, which at a time limit is one after the reset; `RingBuffer` keeps the right one, and so
twice as many, or, given `observations`, each once and a tenth more. Programs take turns, as
`comparison.py` says.
"""

import argparse
import functools
import json
import statistics
from collections.abc import Callable
from typing import Any

import flashbax
import jax
import jax.numpy as jnp
from comparison import in_turn, machine, prepare, ratios, timed

import lerax_fx as fx
from lerax_fx._replay.buffer import RingBuffer

NUM_ENVS, BATCH = 10, 128
SHAPES = {"CartPole": (4,), "MinAtar": (10, 10, 4)}
Body = Callable[[Any, Any], tuple[Any, Any]]


def step_of(shape: tuple[int, ...], number: Any) -> dict[str, Any]:
    """What `NUM_ENVS` environments give in one step."""
    reward = number + jnp.arange(NUM_ENVS, dtype=jnp.float32)
    observation = jnp.broadcast_to(reward.reshape(-1, *[1] * len(shape)), (NUM_ENVS, *shape))
    ends = reward % 50 == 0
    return {
        "observation": observation,
        "action": reward.astype(jnp.int32),
        "reward": reward,
        "terminated": ends,
        "truncated": ends,
    }


def total(tree: Any) -> Any:
    """All of it is used, so that none of it is left out."""
    return sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(tree))


def ring(
    shape: tuple[int, ...], capacity: int, prioritized: bool, look_up: bool
) -> tuple[Any, Body]:
    sampling = fx.prioritized() if prioritized else fx.uniform()

    def transitions(number: Any) -> fx.data.Transitions:
        step = step_of(shape, number)
        step["next_observation"] = step_of(shape, number + 1)["observation"]
        # After an end, a step sees another one.
        after_end = (step["reward"] % 50 == 1).reshape(-1, *[1] * len(shape))
        step["observation"] = jnp.where(after_end, 0.0, step["observation"])
        return fx.data.Transitions(**jax.tree.map(lambda x: x[:, None], step))

    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        ring, state = carry
        number, key = x
        ring = ring.add(transitions(number))
        state = sampling.added(state, ring, 1, 1)
        drawn = sampling.draw(state, ring, 1, sampling.draw_ahead(key, (1, BATCH)), (1, BATCH))
        batch = ring.take(ring.windows(drawn.first, 1))
        if prioritized:
            state = sampling.update_priorities(
                state, drawn.first, jnp.abs(batch.reward[..., 0] % 7)
            )
        return (ring, state), total((batch, drawn.weight))

    rows = capacity // NUM_ENVS
    observations = rows + rows // 10 if look_up else None
    empty = RingBuffer.empty(jax.eval_shape(transitions, jnp.zeros(())), rows, observations)
    return (empty, sampling.init(empty)), body


def flat_buffer(shape: tuple[int, ...], capacity: int, prioritized: bool) -> tuple[Any, Body]:
    make = flashbax.make_prioritised_flat_buffer if prioritized else flashbax.make_flat_buffer
    buffer = make(capacity, BATCH, BATCH, add_batch_size=NUM_ENVS)

    def body(state: Any, x: Any) -> tuple[Any, Any]:
        number, key = x
        state = buffer.add(state, step_of(shape, number))
        batch = buffer.sample(state, key)
        used = total(batch.experience)
        if prioritized:
            error = jnp.abs(batch.experience.first["reward"] % 7)
            state = buffer.set_priorities(state, batch.indices, error + 1e-6)
            used += total((batch.probabilities / batch.probabilities.max()) ** -0.4)
        return state, used

    return buffer.init(jax.tree.map(lambda x: x[0], step_of(shape, 0.0))), body


def program(state: Any, body: Body, steps: int) -> Callable[[Any], Any]:
    @functools.partial(jax.jit, donate_argnums=0)
    def run(state: Any, key: Any) -> tuple[Any, Any]:
        numbers = jnp.arange(steps, dtype=jnp.float32)
        state, used = jax.lax.scan(body, state, (numbers, jax.random.split(key, steps)))
        return state, used[-1]

    # Each call goes on where the last one stopped: a loop's carry is copied nowhere.
    kept = [jax.tree.map(jnp.copy, state)]

    def go_on(key: Any) -> Any:
        kept[0], used = run(kept[0], key)
        return kept[0], used

    return go_on


def size(state: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(state))


def compare(
    shape: tuple[int, ...], capacity: int, prioritized: bool, steps: int, repeats: int
) -> dict[str, Any]:
    made = {
        "stored": ring(shape, capacity, prioritized, look_up=False),
        "looked up": ring(shape, capacity, prioritized, look_up=True),
        "flashbax": flat_buffer(shape, capacity, prioritized),
    }
    megabytes = {name: size(parts[0]) / 2**20 for name, parts in made.items()}
    programs = {name: program(*parts, steps) for name, parts in made.items()}
    for run in programs.values():
        # Twice: flashbax's state changes its types in the first call, and is compiled again.
        for _ in range(2):
            timed(run, jax.random.key(0))
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for repeat in range(repeats):
        for name in in_turn(programs, repeat):
            seconds[name].append(timed(programs[name], jax.random.key(repeat))[0])
    return {
        "microseconds": {n: statistics.median(s) / steps * 1e6 for n, s in seconds.items()},
        "ratio": {n: ratios(seconds[n], seconds["flashbax"]) for n in ("stored", "looked up")},
        "looked up / stored": ratios(seconds["looked up"], seconds["stored"]),
        "megabytes": megabytes,
    }


def show(title: str, row: dict[str, Any]) -> None:
    print(title)
    for name, time in row["microseconds"].items():
        against = row["ratio"].get(name)
        spread = f"  {_written(against)} of flashbax" if against else ""
        print(f"  {name:<12}{time:8.1f} us {row['megabytes'][name]:8.1f} MB{spread}")
    print(f"  looked up / stored: {_written(row['looked up / stored'])}", flush=True)


def _written(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:5.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="fx.replay's memory against flashbax's.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    prepare()
    rows: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        for capacity in (10_000, 100_000):
            for prioritized in (False, True):
                kind = "prioritised" if prioritized else "uniform"
                title = f"{name}, {capacity:,}, {kind}"
                row = compare(shape, capacity, prioritized, chosen.steps, chosen.repeats)
                rows[title] = row
                if chosen.json:
                    continue
                show(title, row)
    if chosen.json:
        print(json.dumps({"machine": machine(), "results": rows}))


if __name__ == "__main__":
    main()
