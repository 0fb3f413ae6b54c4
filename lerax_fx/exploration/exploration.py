"""What exploration is: another distribution to act by."""

import abc
from typing import Any

import distrax

from lerax_fx._core.schedules import EvaluatesSchedules
from lerax_fx.types import Count


class AbstractExploration(EvaluatesSchedules):
    """How to act instead of by the agent's own distribution. Schedules in it count environment
    steps.
    """

    @abc.abstractmethod
    def __call__(self, output: Any, steps: Count) -> distrax.Distribution:
        """The distribution to act by, in one environment.

        **Arguments:**

        - `output`: the agent's [`Output`][lerax_fx.Output], for one step.
        - `steps`: environment steps taken so far, of all environments.
        """
