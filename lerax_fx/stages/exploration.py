"""Exploration: the behaviour policy of a rollout."""

import abc
from typing import Any, final

import distrax
import jax.numpy as jnp
import numpy as np

from lerax_fx._core.arguments import check_number, suggest_keywords
from lerax_fx._core.schedules import EvaluatesSchedules, ScalarOrSchedule, value_at
from lerax_fx.agents.policies import DeterministicAction
from lerax_fx.agents.protocols import check_q_values
from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Count, Interval


class AbstractExploration(EvaluatesSchedules):
    """A behaviour policy, made from the agent's output. Schedules in it count environment steps."""

    @abc.abstractmethod
    def __call__(self, output: Any, steps: Count) -> distrax.Distribution:
        """The behaviour policy's distribution, in one environment.

        **Arguments:**

        - `output`: the agent's [`Output`][lerax_fx.agents.Output], for one step.
        - `steps`: environment steps taken so far, of all environments.
        """


@final
class EpsilonGreedy(AbstractExploration):
    """See [`epsilon_greedy`][lerax_fx.epsilon_greedy]."""

    epsilon: ScalarOrSchedule

    def __call__(self, output: Any, steps: Count) -> distrax.Distribution:
        check_q_values("epsilon_greedy", output, ())
        # A schedule may run out of its range, and a probability may not.
        epsilon = jnp.clip(value_at("epsilon_greedy: epsilon", self.epsilon, steps), 0.0, 1.0)
        return distrax.EpsilonGreedy(output.q_values, epsilon, dtype=np.int32)


@suggest_keywords
def epsilon_greedy(epsilon: ScalarOrSchedule) -> EpsilonGreedy:
    """Epsilon-greedy exploration: a uniformly random action with probability `epsilon`, else the
    greedy one.

        rollout(env, ..., explore=epsilon_greedy(optax.linear_schedule(1.0, 0.05, 250_000)))

    Watkins 1989, "Learning from Delayed Rewards"; Mnih et al. 2015, "Human-level control
    through deep reinforcement learning", algorithm 1.

    **Arguments:**

    - `epsilon`: in [0, 1], or a schedule over environment steps, whose values are clipped to
      [0, 1].

    **Raises:** `HyperparameterError` for a number outside; `WiringError`, when traced, if
    the agent has no Q-values.
    """
    return EpsilonGreedy(
        check_number("epsilon_greedy: epsilon", epsilon, Interval(0.0, 1.0), schedule=True)
    )


@final
class GaussianNoise(AbstractExploration):
    """See [`gaussian_noise`][lerax_fx.gaussian_noise]."""

    scale: ScalarOrSchedule

    def __call__(self, output: Any, steps: Count) -> distrax.Distribution:
        distribution = output.distribution
        if not isinstance(distribution, DeterministicAction):
            raise WiringError(
                format_error(
                    "gaussian_noise",
                    wanted="an agent whose policy is deterministic",
                    got=f"a {type(distribution).__name__}",
                    fix="Make the agent with fx.deterministic_actor_critic(env, key=key), or "
                    "leave out explore: a stochastic policy explores by itself.",
                )
            )
        bounds = distribution.bounds
        scale = value_at("gaussian_noise: scale", self.scale, steps) * bounds.half_width
        noisy = distrax.ClippedNormal(distribution.mode(), scale, bounds.lowest, bounds.highest)
        return distrax.Independent(noisy, len(bounds.shape))


@suggest_keywords
def gaussian_noise(scale: ScalarOrSchedule) -> GaussianNoise:
    """Gaussian exploration noise on a deterministic policy's actions, clipped to their bounds.

        rollout(env, ..., explore=gaussian_noise(0.1))

    Fujimoto et al. 2018, "Addressing Function Approximation Error in Actor-Critic Methods",
    algorithm 1.

    **Arguments:**

    - `scale`: the noise's standard deviation, above 0, in units of half the width between
      an action's bounds; or an Optax schedule of it over environment steps.

    **Raises:** `HyperparameterError` for a number outside; `WiringError`, when traced, if
    the agent's policy is not deterministic.
    """
    interval = Interval(0.0, open_low=True)
    return GaussianNoise(check_number("gaussian_noise: scale", scale, interval, schedule=True))
