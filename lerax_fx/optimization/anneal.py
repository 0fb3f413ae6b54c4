"""Learning rates that fall over a run."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import ArrayLike, ScalarLike

from lerax_fx._core.arguments import known_names
from lerax_fx._core.bounds import check_count, check_number, declared_intervals
from lerax_fx._core.schedules import Schedule
from lerax_fx.types import NonNegative


@final
class Anneal(Schedule):
    """See [`anneal`][lerax_fx.anneal]."""

    value: ScalarLike
    num_updates: int = eqx.field(static=True)
    steps_per_update: int = eqx.field(static=True)

    def __call__(self, count: ArrayLike) -> ScalarLike:
        """The value after `count` gradient steps; 0 once the planned updates are over."""
        updates = jnp.floor_divide(count, self.steps_per_update)
        return self.value * jnp.maximum(1.0 - updates / self.num_updates, 0.0)


@known_names
def anneal(value: NonNegative, *, num_updates: int, steps_per_update: int = 1) -> Anneal:
    """A schedule from `value` to 0, linear in the updates of a run.

    Optax counts gradient steps, of which one update of an algorithm makes
    `steps_per_update`: epochs times minibatches for PPO. Within an update the value stays,
    as in PPO's implementations (Huang et al. 2022, detail 4). A run that goes on past
    `num_updates` goes on at 0.

        optax.adam(anneal(2.5e-4, num_updates=976, steps_per_update=16))

    **Raises:** `HyperparameterError` for a negative value or a count below 1.
    """
    interval = declared_intervals(anneal)["value"]
    return Anneal(
        check_number("anneal: value", value, interval),
        check_count("anneal: num_updates", num_updates),
        check_count("anneal: steps_per_update", steps_per_update),
    )
