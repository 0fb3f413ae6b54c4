"""What one step of an agent gives, family by family."""

from typing import Any

import distrax
import equinox as eqx
import numpy as np
from jaxtyping import Array, Float


class Output(eqx.Module):
    """Of an actor-critic: a policy and a state value.

    `agent.step` gives one, `agent.unroll` one whose arrays begin with the axis of time.

    - `distribution`: over one action: a PyTree with `sample`, `log_prob`, `entropy` and `mode`.
    - `value`: the value of the observation: float, `()`; `(time,)` of a trajectory.
    """

    distribution: Any
    value: Float[Array, "*time"]


class QOutput(Output):
    """Of a Q-network: the policy is greedy in `q_values`, and `value` is their maximum.

    - `q_values`: of each action: float, `(actions,)`; `(time, actions)` of a trajectory.
    """

    q_values: Float[Array, "*time actions"]


class DistributionalQOutput(QOutput):
    """Of a distributional Q-network: `q_values` are the means of the return distributions.

    - `return_distribution`: of each action, with `atoms`, `probabilities` and `mean`: a
      [`CategoricalReturns`][lerax_fx.agents.CategoricalReturns] or a
      [`QuantileReturns`][lerax_fx.agents.QuantileReturns] whose arrays begin as `q_values` do.
    """

    return_distribution: Any


def greedy_output(q_values: Float[Array, " actions"]) -> QOutput:
    """The output of the greedy policy for one observation."""
    return QOutput(distrax.Greedy(q_values, dtype=np.int32), q_values.max(), q_values)
