"""n-step returns."""

import rlax

from lerax_fx._core.bounds import check_count
from lerax_fx._core.lift import transform
from lerax_fx.data.estimates import Estimates
from lerax_fx.data.rollout import Rollout
from lerax_fx.estimators.axes import cut_at_ends, over_trajectories
from lerax_fx.types import Fraction


@transform
def n_step_returns(rollout: Rollout, *, n: int = 5, discount: Fraction = 0.99) -> Estimates:
    """Estimate returns from `n` rewards and the value after them.

    Sutton & Barto 2018, eq. 7.1; Mnih et al. 2016 (A3C), section 4:

        target_t = reward_t + discount * reward_{t+1} + ... + discount^n * value_{t+n}

    A window never crosses the end of an episode or of the trajectory: it stops there, and
    bootstraps from `next_value` unless the episode terminated.
    `advantage = target - value`.

    **Arguments:**

    - `n`: the most rewards in a window, at least 1. With `n` of at least the trajectory's
      length these are the returns that A2C uses.
    - `discount`: of a reward one step later, in [0, 1]; where observations are
      [`Timed`][lerax_fx.Timed], one unit of time later: `discount ** dt` for a step.

    **Raises:** `HyperparameterError` if `n` is not an int of at least 1.
    """
    check_count("n_step_returns: n", n)

    def targets(trajectory: Rollout):
        reward, discounts = cut_at_ends(trajectory, discount)
        steps = min(n, trajectory.reward.shape[0])
        return rlax.n_step_bootstrapped_returns(reward, discounts, trajectory.next_value, steps)

    target = over_trajectories("n_step_returns", targets, rollout)
    return Estimates(rollout, target - rollout.value, target)
