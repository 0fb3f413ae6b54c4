"""The loss of PPO."""

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_number, declared_intervals
from lerax_fx.data.estimates import Estimates
from lerax_fx.losses.loss import Loss
from lerax_fx.losses.policy import clipped_surrogate, entropy
from lerax_fx.losses.value import value_loss
from lerax_fx.types import NonNegative, Positive


@known_names
def ppo_loss(
    *,
    clip: Positive = 0.2,
    value_weight: NonNegative = 0.5,
    entropy_weight: NonNegative = 0.01,
    clip_value: bool = True,
) -> Loss[Estimates]:
    """The loss of Schulman et al. 2017, eq. 9:

        clipped_surrogate(clip) + value_weight * value_loss() - entropy_weight * entropy()

    **Arguments:**

    - `clip`: the range of the probability ratio, above 0.
    - `value_weight`, `entropy_weight`: of at least 0.
    - `clip_value`: whether the value loss is clipped, by the same range.

    **Raises:** `HyperparameterError` for a value out of range.
    """
    intervals = declared_intervals(ppo_loss)
    value_weight = check_number(
        "ppo_loss: value_weight", value_weight, intervals["value_weight"], schedule=True
    )
    entropy_weight = check_number(
        "ppo_loss: entropy_weight", entropy_weight, intervals["entropy_weight"], schedule=True
    )
    return (
        clipped_surrogate(clip=clip)
        + value_weight * value_loss(clip=clip if clip_value else None)
        - entropy_weight * entropy()
    )
