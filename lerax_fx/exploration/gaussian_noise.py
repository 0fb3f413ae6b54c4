"""Noise on real-valued actions."""

from typing import Any, final

import distrax

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_number
from lerax_fx._core.schedules import ScalarOrSchedule, value_at
from lerax_fx.agents.policies.deterministic import DeterministicAction
from lerax_fx.errors import WiringError, explain
from lerax_fx.exploration.exploration import AbstractExploration
from lerax_fx.types import Count, Interval


@final
class GaussianNoise(AbstractExploration):
    """See [`gaussian_noise`][lerax_fx.gaussian_noise]."""

    scale: ScalarOrSchedule

    def __call__(self, output: Any, steps: Count) -> distrax.Distribution:
        distribution = output.distribution
        if not isinstance(distribution, DeterministicAction):
            raise WiringError(
                explain(
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


@known_names
def gaussian_noise(scale: ScalarOrSchedule) -> GaussianNoise:
    """The agent's action with Gaussian noise on each of its numbers, clipped to the bounds.

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
