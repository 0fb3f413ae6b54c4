"""Targets from the value of what follows."""

from collections.abc import Callable

import jax

from lerax_fx.agents.steps import over_steps
from lerax_fx.agents.unroll import split_keys
from lerax_fx.data.targets import Targets
from lerax_fx.data.transitions import Transitions
from lerax_fx.targets.td_target import bootstrap_each
from lerax_fx.types import Fraction, Key, Scalar, Tree


def bootstrapped(
    where: str,
    data: Transitions,
    value: Callable[[Tree, Key], Scalar],
    key: Key,
    *,
    n: int,
    discount: Fraction,
) -> Targets:
    """The rewards of `n` steps and the discounted `value` of the observation after them, a key
    for each.

    **Raises:** `WiringError`, of the stage `where`, for windows shorter than `n`.
    """
    ahead = bootstrap_each(where, data, n, discount)
    windows, starts = ahead.reward.shape
    keys = split_keys(key, (windows, starts))
    values = over_steps(value, 2, ahead.observation, keys)
    observation, action = jax.tree.map(lambda x: x[:, :starts], (data.observation, data.action))
    return Targets(observation, action, ahead.target(values), data.weight)
