"""A random action now and then."""

from typing import Any, final

import distrax
import jax.numpy as jnp
import numpy as np

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_number
from lerax_fx._core.schedules import ScalarOrSchedule, value_at
from lerax_fx.agents.protocols import check_q_values
from lerax_fx.exploration.exploration import AbstractExploration
from lerax_fx.types import Count, Interval


@final
class EpsilonGreedy(AbstractExploration):
    """See [`epsilon_greedy`][lerax_fx.epsilon_greedy]."""

    epsilon: ScalarOrSchedule

    def __call__(self, output: Any, steps: Count) -> distrax.Distribution:
        check_q_values("epsilon_greedy", output, ())
        # A schedule may run out of its range, and a probability may not.
        epsilon = jnp.clip(value_at("epsilon_greedy: epsilon", self.epsilon, steps), 0.0, 1.0)
        return distrax.EpsilonGreedy(output.q_values, epsilon, dtype=np.int32)


@known_names
def epsilon_greedy(epsilon: ScalarOrSchedule) -> EpsilonGreedy:
    """With probability `epsilon` an action of all, else one of the highest value.

        rollout(env, ..., explore=epsilon_greedy(optax.linear_schedule(1.0, 0.05, 250_000)))

    Watkins 1989, "Learning from Delayed Rewards"; Mnih et al. 2015, "Human-level control
    through deep reinforcement learning", algorithm 1.

    **Arguments:**

    - `epsilon`: in [0, 1], or an Optax schedule over environment steps, of which what lies
      outside is brought there.

    **Raises:** `HyperparameterError` for a number outside; `WiringError`, when traced, if
    the agent has no action values.
    """
    return EpsilonGreedy(
        check_number("epsilon_greedy: epsilon", epsilon, Interval(0.0, 1.0), schedule=True)
    )
