"""A critic that sees more than the actor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lerax_fx as fx
from lerax_fx.spaces import Box, Dict, Discrete

KEY = jax.random.key(0)
IMAGE = Box(0.0, 1.0, (4, 4, 1))


class Weather(fx.Env):
    """Earns what the weather is, -1 or 1, in each of two steps; the action means nothing."""

    continuous: bool = False

    @property
    def action_space(self):
        return Box(-1.0, 1.0, (1,)) if self.continuous else Discrete(2)

    @property
    def observation_space(self):
        box = Box(-1.0, 1.0, (1,))
        return Dict({"position": box, "weather": box, "look": IMAGE})

    def initial(self, *, key):
        return jnp.where(jax.random.bernoulli(key), 1.0, -1.0), jnp.zeros(())

    def transition(self, state, action, *, key):
        return state[0], state[1] + 1.0

    def observation(self, state, *, key):
        look = jnp.full(IMAGE.shape, 0.5)
        return {"position": state[1][None] - 1.0, "weather": state[0][None], "look": look}

    def reward(self, state, action, next_state, *, key):
        return state[0]

    def terminal(self, state, *, key):
        return state[1] > 1.5


ENV, FORCE = Weather(), Weather(continuous=True)
OPTIONS = {"key": KEY, "actor_sees": ("position",), "critic_sees": ("position", "weather")}
MAKERS = {
    "mlp": lambda: fx.actor_critic(ENV, width=8, **OPTIONS),
    "cnn": lambda: fx.actor_critic(ENV, width=8, **{**OPTIONS, "actor_sees": "look"}),
    "gru": lambda: fx.actor_critic(ENV, width=8, memory="gru", **OPTIONS),
    "sac": lambda: fx.soft_actor_critic(FORCE, widths=(8,), **OPTIONS),
    "discrete-sac": lambda: fx.soft_actor_critic(ENV, widths=(8,), **OPTIONS),
    "td3": lambda: fx.deterministic_actor_critic(FORCE, widths=(8,), **OPTIONS),
}


@pytest.mark.quick("mlp", "td3")
@pytest.mark.parametrize("name", MAKERS)
def test_the_actor_sees_less_than_the_critic(name):
    agent = MAKERS[name]()
    fx.check_agent(agent, FORCE if name in ("sac", "td3") else ENV)

    @jax.jit
    def run(position, weather, look):
        observation = {"position": position, "weather": weather, "look": look}
        output = agent.step(agent.initial_memory(), observation, KEY)[1]
        return jax.tree.leaves(output.distribution), output.value

    here, there = jnp.zeros(1), jnp.ones(1)
    dark, bright = jnp.zeros(IMAGE.shape), jnp.ones(IMAGE.shape)
    first, value = run(here, here, dark)
    for other, seen, valued in (
        (run(there, here, dark), name != "cnn", True),
        (run(here, there, dark), False, True),
        (run(here, here, bright), name == "cnn", False),
    ):
        same = all(bool(jnp.all(a == b)) for a, b in zip(first, other[0], strict=True))
        assert same != seen
        if valued or not seen:  # of a deterministic action, its value depends on what it depends on
            assert bool(value == other[1]) != valued


@pytest.mark.slow
def test_what_only_the_critic_sees_is_learnt_as_a_value():
    learn = fx.minimize(fx.ppo_loss(clip_value=False), fx.optimizer(optax.adam, 3e-2))
    algorithm = fx.chain(
        fx.rollout(ENV, num_envs=16, num_steps=4),
        fx.gae(discount=1.0, lambda_=1.0),
        fx.repeat(4, learn),
    )
    agent, _ = fx.anakin_loop(algorithm, 30)(MAKERS["mlp"](), KEY)
    start = {"position": -jnp.ones(1), "look": jnp.full(IMAGE.shape, 0.5)}
    for weather in (-1.0, 1.0):
        observation = {**start, "weather": jnp.full(1, weather)}
        value = agent.step(None, observation, KEY)[1].value
        np.testing.assert_allclose(value, 2 * weather, atol=0.3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"actor_sees": "wether"}, fx.WiringError, "actor_sees: wanted one of.*got 'wether'"),
        ({"critic_sees": ()}, fx.HyperparameterError, "critic_sees: wanted at least one name"),
    ],
)
def test_errors_in_words(options, error, message):
    with pytest.raises(error, match=message):
        fx.actor_critic(ENV, key=KEY, **options)
    with pytest.raises(error, match=message):
        fx.soft_actor_critic(ENV, key=KEY, **options)


def test_entries_need_names():
    with pytest.raises(fx.WiringError, match=r"sees: wanted observations with entries.*got Box"):
        fx.actor_critic("CartPole-v1", key=KEY, critic_sees="position")
