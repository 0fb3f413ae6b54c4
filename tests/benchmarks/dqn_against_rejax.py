"""DQN here against Rejax's, on CartPole-v1 with the settings of Rejax's own configuration.

    git clone https://github.com/keraJLi/rejax
    pip install flax
    python tests/benchmarks/dqn_against_rejax.py --rejax rejax

How they are compared is said in `comparison.py` and `rejax_programs.py`.
"""

from typing import Any

import optax
from comparison import compare, options, prepare, report
from rejax_programs import our_program, our_return, rejax_program, rejax_return

import lerax_fx as fx

ENV = "CartPole-v1"
NUM_ENVS = 10
# `dqn` of Rejax's `configs/gymnax/cartpole.yaml`, less how long it trains and evaluates.
SETTINGS = {
    "agent": "DuelingQNetwork",
    "agent_kwargs": {"activation": "swish"},
    "num_envs": NUM_ENVS,
    "buffer_size": 50_000,
    "fill_buffer": 5_000,
    "batch_size": 100,
    "max_grad_norm": 10,
    "learning_rate": 0.001,
    "num_epochs": 5,
    "polyak": 0.98,
    "eps_start": 1,
    "eps_end": 0.05,
    "exploration_fraction": 0.5,
    "gamma": 0.99,
    "ddqn": True,
    "normalize_observations": False,
}


def make(key: fx.typing.Key, total_steps: int) -> tuple[Any, fx.loops.AnakinLoop]:
    """The same as transforms. Rejax's networks have two hidden layers of 64 units, and its
    target network follows once for the five gradient steps that an update makes.
    """
    env = fx.make(ENV)
    agent = fx.q_agent(env, key=key, widths=(64, 64), activation="silu", dueling=True)
    clip, adam = fx.optimizer(optax.clip, 10.0), fx.optimizer(optax.adam, 1e-3)
    optimizer = fx.optimizer(optax.chain, clip, adam)
    target = fx.td_target(discount=0.99, double=True, update=fx.polyak(0.02, period=5))
    epsilon = fx.schedule(optax.linear_schedule, 1.0, 0.05, total_steps // 2)
    algorithm = fx.chain(
        fx.rollout(env, num_envs=NUM_ENVS, num_steps=1, explore=fx.epsilon_greedy(epsilon)),
        fx.replay(
            fx.chain(target, fx.minimize(fx.q_loss(), optimizer)),
            capacity=50_000,
            batch_size=100,
            warmup=5_000,
            updates_per_step=5,
        ),
    )
    num_updates = fx.updates_in(total_steps, num_envs=NUM_ENVS, num_steps=1)
    return agent, fx.anakin_loop(algorithm, num_updates)


def main() -> None:
    chosen = options("DQN here against Rejax's.", "Rejax", 100_000).parse_args()
    prepare()
    row = compare(
        {
            "lerax_fx": our_program(ENV, make, chosen.total_steps),
            "Rejax": rejax_program(chosen.rejax, "dqn", ENV, SETTINGS, chosen.total_steps),
        },
        {"lerax_fx": our_return, "Rejax": rejax_return},
        steps=chosen.total_steps // NUM_ENVS * NUM_ENVS,
        repeats=chosen.repeats,
        num_seeds=chosen.seeds,
    )
    report({f"{NUM_ENVS} environments": row}, chosen.json)


if __name__ == "__main__":
    main()
