"""What exploration is: another distribution to act by."""

import abc

import distrax

from lerax_fx._core.schedules import EvaluatesSchedules
from lerax_fx.types import Count


class AbstractExploration(EvaluatesSchedules):
    """How to act instead of by the agent's own distribution. Schedules in it count environment
    steps.
    """

    @abc.abstractmethod
    def __call__(self, distribution: distrax.Distribution, steps: Count) -> distrax.Distribution:
        """The distribution to act by, in one environment.

        **Arguments:**

        - `distribution`: the agent's, for one step.
        - `steps`: environment steps taken so far, of all environments.
        """
