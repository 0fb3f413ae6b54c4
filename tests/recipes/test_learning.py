"""What recipes learn: returns over several seeds against published figures.

python -m pytest -m slow tests/recipes/test_learning.py -s
"""

import jax
import numpy as np
import pytest

import lerax_fx as fx
from recipes import a2c, ppo


def evaluated(recipe, env, seeds=5, **config):
    """The mean return of each seed, over 128 episodes of the greedy policy."""

    def one_seed(key):
        agent_key, train_key, evaluate_key = jax.random.split(key, 3)
        agent, train = recipe.make(env, key=agent_key, **config)
        trained, _ = train(agent, train_key)
        return fx.evaluate(env, trained, evaluate_key).episode_return.mean()

    returns = np.asarray(jax.jit(jax.vmap(one_seed))(jax.random.split(jax.random.key(0), seeds)))
    name = recipe.__name__.split(".")[-1]
    print(f"\n{name} {env}: {returns.mean():.1f} +- {returns.std():.1f}, seeds {returns.round(1)}")
    return returns


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "config", "wanted"),
    [
        ("CartPole-v1", {}, 495.0),
        ("Acrobot-v1", {}, -90.0),
        ("Pendulum-v1", {"total_steps": 1_000_000}, -250.0),
    ],
)
def test_ppo_learns(env, config, wanted):
    assert evaluated(ppo, env, **config).mean() >= wanted


@pytest.mark.slow
def test_a2c_learns_cartpole():
    # One seed in a hundred gets stuck near 200, which would decide a mean over five.
    assert evaluated(a2c, "CartPole-v1", seeds=16).mean() >= 475.0
