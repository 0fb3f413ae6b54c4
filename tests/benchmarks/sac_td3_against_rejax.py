"""SAC and TD3 here against Rejax's, with the settings of Rejax's own configurations.

    git clone https://github.com/keraJLi/rejax
    pip install flax
    python tests/benchmarks/sac_td3_against_rejax.py --rejax rejax
    python tests/benchmarks/sac_td3_against_rejax.py --rejax rejax \
        --curves MountainCarContinuous-v0 Reacher-misc

The first gives steps per second on Pendulum-v1; the second trains three seeds of each and
prints the mean return of evaluations over the run. How they are compared is said in
`comparison.py` and `rejax_programs.py`.

Rejax's configuration for Pendulum-v1 normalises observations; that is off on both sides,
since Rejax stores them as they are and ours would store them normalised. It has none for
Reacher-misc, which gets that of MountainCarContinuous-v0.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from comparison import compare, options, prepare, report
from rejax_programs import (
    EVALUATION_EPISODES,
    Make,
    our_program,
    our_return,
    rejax_algorithm,
    rejax_program,
    rejax_return,
)

import lerax_fx as fx

SPEED_ENV = "Pendulum-v1"
SPEED_STEPS = 10_000
CURVE_POINTS = 10
CURVE_SEEDS = 3
DELAY = 2  # Rejax's policy_delay everywhere
# Of Rejax's `configs/gymnax/pendulum.yaml`, less how long it trains and evaluates.
PENDULUM: dict[str, dict[str, Any]] = {
    "sac": {
        "agent_kwargs": {"activation": "swish"},
        "num_envs": 1,
        "buffer_size": 10_000,
        "fill_buffer": 256,
        "batch_size": 256,
        "learning_rate": 0.01,
        "num_epochs": 1,
        "gamma": 0.99,
        "polyak": 0.98,
    },
    "td3": {
        "actor_kwargs": {"activation": "swish"},
        "critic_kwargs": {"activation": "swish"},
        "num_envs": 1,
        "buffer_size": 10_000,
        "fill_buffer": 1_000,
        "batch_size": 100,
        "learning_rate": 0.001,
        "gamma": 0.99,
        "polyak": 0.95,
        "max_grad_norm": 100.0,
        "exploration_noise": 0.3,
        "target_noise": 0.2,
        "target_noise_clip": 0.5,
        "policy_delay": DELAY,
    },
}
# Of its `configs/gymnax/continuous_mountaincar.yaml`.
MOUNTAIN_CAR: dict[str, dict[str, Any]] = {
    "sac": {
        "agent_kwargs": {"activation": "swish"},
        "num_envs": 32,
        "buffer_size": 10_000,
        "fill_buffer": 256,
        "batch_size": 256,
        "learning_rate": 0.005,
        "num_epochs": 32,
        "gamma": 0.99,
        "polyak": 0.99,
    },
    "td3": {
        "actor_kwargs": {"activation": "relu"},
        "critic_kwargs": {"activation": "relu"},
        "num_envs": 1,
        "buffer_size": 10_000,
        "fill_buffer": 1_000,
        "batch_size": 100,
        "learning_rate": 0.002,
        "gamma": 0.98,
        "polyak": 0.995,
        "max_grad_norm": 10.0,
        "exploration_noise": 0.2,
        "target_noise": 0.2,
        "target_noise_clip": 0.5,
        "policy_delay": DELAY,
    },
}
HIDDEN = (64, 64)  # written down in Rejax
# What Rejax calls swish is called silu here.
ACTIVATIONS = {"swish": "silu", "relu": "relu"}


def sac(name: str, settings: dict[str, Any]) -> Make:
    """Rejax's SAC as transforms."""

    def make(key: fx.typing.Key, total_steps: int) -> tuple[Any, fx.loops.AnakinLoop]:
        env = fx.make(name)
        epochs, num_envs = settings["num_epochs"], settings["num_envs"]
        activation = ACTIVATIONS[settings["agent_kwargs"]["activation"]]
        agent = fx.soft_actor_critic(env, key=key, widths=HIDDEN, activation=activation)
        # The target network follows once in an update, after all of its gradient steps.
        follow = fx.polyak(1.0 - settings["polyak"], period=epochs)

        adam = fx.optimizer(optax.adam, settings["learning_rate"])
        learn = fx.chain(
            fx.sac_target(discount=settings["gamma"], update=follow),
            critic=fx.minimize(fx.q_critic_loss(), adam, part="critic"),
            actor=fx.minimize(fx.sac_policy_loss(), adam, part="actor"),
            temperature=fx.minimize(fx.temperature_loss(), adam, part="log_temperature"),
        )
        algorithm = fx.chain(
            fx.rollout(env, num_envs=num_envs, num_steps=1),
            replayed(learn, settings, updates_per_step=epochs),
        )
        updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=1)
        return agent, fx.anakin_loop(algorithm, updates)

    return make


def td3(name: str, settings: dict[str, Any]) -> Make:
    """Rejax's TD3 as transforms. Noise is in units of half the width between the bounds
    here, in those of the action there.
    """

    def make(key: fx.typing.Key, total_steps: int) -> tuple[Any, fx.loops.AnakinLoop]:
        env = fx.make(name)
        half_width = float(np.max(env.action_space.high))
        activation = ACTIVATIONS[settings["actor_kwargs"]["activation"]]
        agent = fx.deterministic_actor_critic(env, key=key, widths=HIDDEN, activation=activation)
        target = fx.td3_target(
            discount=settings["gamma"],
            noise=settings["target_noise"] / half_width,
            clip=settings["target_noise_clip"] / half_width,
            update=fx.polyak(1.0 - settings["polyak"], period=DELAY),
        )

        clip = fx.optimizer(optax.clip, settings["max_grad_norm"])
        adam = fx.optimizer(optax.adam, settings["learning_rate"])
        optimizer = fx.optimizer(optax.chain, clip, adam)
        actor = fx.minimize(fx.dpg_loss(), optimizer, part="actor")
        critic = fx.minimize(fx.q_critic_loss(), optimizer, part="critic")
        learn = fx.chain(target, fx.chain(critic=critic), fx.every(DELAY, fx.chain(actor=actor)))
        noise = settings["exploration_noise"] / half_width

        def scale(steps: Any) -> Any:
            # Rejax draws uniformly until it learns; so much noise, clipped, is near that.
            return jnp.where(steps <= settings["fill_buffer"], 1.0, noise)

        explore = fx.gaussian_noise(scale)
        num_envs = settings["num_envs"]
        algorithm = fx.chain(
            fx.rollout(env, num_envs=num_envs, num_steps=1, explore=explore),
            replayed(learn, settings, updates_per_step=1),
        )
        updates = fx.updates_in(total_steps, num_envs=num_envs, num_steps=1)
        return agent, fx.anakin_loop(algorithm, updates)

    return make


def replayed(learn: Any, settings: dict[str, Any], updates_per_step: int) -> Any:
    return fx.replay(
        learn,
        capacity=settings["buffer_size"],
        batch_size=settings["batch_size"],
        warmup=settings["fill_buffer"],
        updates_per_step=updates_per_step,
    )


OURS: dict[str, Callable[[str, dict[str, Any]], Make]] = {"sac": sac, "td3": td3}


def our_curve(name: str, make: Make, steps: int, key: Any, *, greedy: bool) -> list[float]:
    """The mean return of evaluations, over all seeds, at the start and after each piece."""
    env = fx.make(name)

    # Made before anything is traced: the bounds of some actions are arrays.
    agent_keys, train_keys = (jax.random.split(each, CURVE_SEEDS) for each in jax.random.split(key))
    made = [make(agent_key, steps) for agent_key in agent_keys]
    agents = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(agent for agent, _ in made))
    loop = made[0][1]

    def train(agent: Any, key: Any) -> Any:
        train_key, evaluate_key = jax.random.split(key)
        state = loop.init(agent, train_key)

        def evaluation(agent: Any, key: Any) -> Any:
            episodes = fx.evaluate(env, agent, key, num_episodes=EVALUATION_EPISODES, greedy=greedy)
            return episodes.episode_return.mean()

        def piece(state: Any, key: Any) -> tuple[Any, Any]:
            state, _ = loop.step(state, loop.num_updates // CURVE_POINTS)
            return state, evaluation(state.agent, key)

        first, *keys = jax.random.split(evaluate_key, CURVE_POINTS + 1)
        before = evaluation(state.agent, first)
        _, after = jax.lax.scan(piece, state, jnp.stack(keys))
        return jnp.concatenate([before[None], after])

    # As one program, which is compiled once.
    means = jax.jit(jax.vmap(train))(agents, train_keys)
    return [float(mean) for mean in means.mean(axis=0)]


def rejax_curve(algorithm: Any, key: Any) -> list[float]:
    train = jax.jit(jax.vmap(algorithm.train))
    _, (_, returns) = train(jax.random.split(key, CURVE_SEEDS))
    return [float(mean) for mean in returns.mean(axis=(0, 2))]


def show_curves(checkout: Any, name: str, total_steps: int, kinds: list[str]) -> None:
    key = jax.random.key(0)
    steps = [total_steps // CURVE_POINTS * i for i in range(CURVE_POINTS + 1)]
    print(f"{name}: mean return of {EVALUATION_EPISODES} episodes and {CURVE_SEEDS} seeds")
    print(f"  {'steps':<16}" + "".join(f"{step:>9,}" for step in steps))
    for kind in kinds:
        settings = MOUNTAIN_CAR[kind]
        evaluation = {"total_timesteps": total_steps, "eval_freq": total_steps // CURVE_POINTS}
        algorithm = rejax_algorithm(checkout, kind, name, {**settings, **evaluation})
        # Rejax evaluates SAC's policy as it is, by sampling.
        ours = our_curve(name, OURS[kind](name, settings), total_steps, key, greedy=kind != "sac")
        theirs = rejax_curve(algorithm, jax.random.PRNGKey(0))
        for owner, curve in ("lerax_fx", ours), ("Rejax", theirs):
            print(f"  {kind + ' ' + owner:<16}" + "".join(f"{mean:>9.1f}" for mean in curve))


def main() -> None:
    parser = options("SAC and TD3 here against Rejax's.", "Rejax", SPEED_STEPS)
    parser.add_argument("--curves", nargs="+", metavar="ENV", help="show learning instead")
    parser.add_argument("--curve-steps", type=int, default=50_000)
    parser.add_argument("--algorithms", nargs="+", choices=list(OURS), default=list(OURS))
    chosen = parser.parse_args()
    prepare()
    for name in chosen.curves or ():
        show_curves(chosen.rejax, name, chosen.curve_steps, chosen.algorithms)
    rows: dict[str, dict[str, Any]] = {}
    for kind in () if chosen.curves else chosen.algorithms:
        settings = PENDULUM[kind]
        make = OURS[kind](SPEED_ENV, settings)
        rows[kind] = compare(
            {
                "lerax_fx": our_program(SPEED_ENV, make, chosen.total_steps),
                "Rejax": rejax_program(chosen.rejax, kind, SPEED_ENV, settings, chosen.total_steps),
            },
            {"lerax_fx": our_return, "Rejax": rejax_return},
            steps=chosen.total_steps,
            repeats=chosen.repeats,
            num_seeds=chosen.seeds,
        )
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
