"""The loss term for the value function."""

import jax.numpy as jnp
import rlax

from lerax_fx.data.estimates import Estimates
from lerax_fx.losses.forward import PolicyOutput, forward
from lerax_fx.losses.loss import loss_term
from lerax_fx.types import Positive, Scalar


@loss_term(forward)
def value_loss(
    evaluation: PolicyOutput, data: Estimates, *, clip: Positive | None = None
) -> Scalar:
    """Half the mean squared difference between values and their targets.

        mean(0.5 * (value - target)^2)

    With `clip`, the larger of that and the same for a value that is kept within `clip` of
    the one recorded when acting, as in PPO's original code (Huang et al. 2022, "The 37
    Implementation Details of Proximal Policy Optimization", detail 9).

    **Arguments:**

    - `clip`: above 0, in the units of the return; `None` for no clipping.
    """
    losses = rlax.l2_loss(evaluation.value, data.target)
    if clip is not None:
        old = data.rollout.value
        clipped = old + jnp.clip(evaluation.value - old, -1.0 * jnp.asarray(clip), clip)
        losses = jnp.maximum(losses, rlax.l2_loss(clipped, data.target))
    return jnp.mean(losses)
