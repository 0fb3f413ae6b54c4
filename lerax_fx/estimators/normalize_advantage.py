"""Advantages with mean 0 and standard deviation 1."""

from lerax_fx._core.lift import transform
from lerax_fx.data.estimates import Estimates
from lerax_fx.types import Positive


@transform
def normalize_advantage(data: Estimates, *, epsilon: Positive = 1e-8) -> Estimates:
    """Shift and scale advantages to mean 0 and standard deviation 1 over the whole data.

    Within `minibatch` that is each minibatch, as PPO's implementations have it (Huang et
    al. 2022, "The 37 Implementation Details of Proximal Policy Optimization", detail 7).

    **Arguments:**

    - `epsilon`: is added to the standard deviation, against division by zero.
    """
    centred = data.advantage - data.advantage.mean()
    return Estimates(data.rollout, centred / (data.advantage.std() + epsilon), data.target)
