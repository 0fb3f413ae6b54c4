"""One agent of each kind, and what the tests do with all of them."""

import jax
import numpy as np

from lerax_fx import actor_critic
from lerax_fx.agents import cnn_actor_critic, mlp_actor_critic
from lerax_fx.nde import cde_actor_critic, ode_actor_critic
from lerax_fx.spaces import Box, Discrete, MultiBinary, MultiDiscrete

KEY = jax.random.key(0)
TIME = 6

VECTOR = Box(-1.0, 1.0, (3,))
IMAGE = Box(0.0, 1.0, (5, 4, 2))

SPACES = {
    "mlp": (VECTOR, Discrete(3)),
    "mlp-squashed": (VECTOR, Box(np.array([-2.0, 0.0]), np.array([2.0, 1.0]))),
    "mlp-gaussian": (Discrete(4), Box(-1.0, 1.0, (2,))),
    "mlp-bits": (MultiBinary(3), MultiBinary(2)),
    "cnn": (IMAGE, Discrete(3)),
    "cnn-separate": (IMAGE, Discrete(3)),
    "gru": (VECTOR, MultiDiscrete([2, 3])),
    "gru-image": (Box(0, 255, (4, 4, 1), np.uint8), Discrete(2)),
    "ode": (VECTOR, Discrete(3)),
    "ode-gru": (VECTOR, Box(-1.0, 1.0, (2,))),
    "cde": (VECTOR, Discrete(3)),
    "cde-image": (IMAGE, Discrete(2)),
}


def make_agent(name, key=KEY):
    spaces = SPACES[name]
    if name == "cnn-separate":
        return cnn_actor_critic(spaces, key=key, width=8, shared=False, squash=False)
    if name == "mlp-bits":
        return mlp_actor_critic(spaces, key=key, width=8, depth=0)
    if name.startswith("ode"):
        vector_field = "gru" if name == "ode-gru" else "mlp"
        return ode_actor_critic(
            spaces, key=key, width=8, hidden=4, vector_field=vector_field, squash=name == "ode-gru"
        )
    if name.startswith("cde"):
        # Observations here jump, for which the default gain is too large: it amplifies rounding.
        return cde_actor_critic(spaces, key=key, width=8, channels=3, hidden=4, gain=1.0)
    memory = "gru" if name.startswith("gru") else None
    return actor_critic(spaces, key=key, width=8, memory=memory, squash=name == "mlp-squashed")


def observations(name, key=KEY, time=TIME):
    return jax.vmap(SPACES[name][0].sample)(jax.random.split(key, time))
