"""Target networks: periodic copies and Polyak averages."""

import abc
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from lerax_fx._core.arguments import check_count, check_number, suggest_keywords
from lerax_fx.errors import WiringError, format_error
from lerax_fx.typing import Count, Fraction, Interval, Tree


class AbstractTargetUpdate(eqx.Module):
    """How a target network is updated."""

    @abc.abstractmethod
    def __call__(self, online: Tree, target: Tree, updates: Count) -> Tree:
        """The next target network, after so many updates."""


@final
class Periodic(AbstractTargetUpdate):
    """See [`periodic`][lerax_fx.periodic]."""

    period: int = eqx.field(static=True)

    def __call__(self, online: Tree, target: Tree, updates: Count) -> Tree:
        return optax.periodic_update(online, target, updates, self.period)


@final
class Polyak(AbstractTargetUpdate):
    """See [`polyak`][lerax_fx.polyak]."""

    step_size: Fraction
    period: int = eqx.field(static=True, default=1)

    def __call__(self, online: Tree, target: Tree, updates: Count) -> Tree:
        due = updates % self.period == 0
        # Of size 0 instead of a cond: under vmap over seeds that would compute both branches.
        step_size = self.step_size if self.period == 1 else jnp.where(due, self.step_size, 0.0)

        def follow(online: Any, target: Any) -> Any:
            if not jnp.issubdtype(target.dtype, jnp.inexact):
                return jnp.where(due, online, target)
            new: Any = optax.incremental_update(online, target, step_size)
            return new.astype(target.dtype)

        return jax.tree.map(follow, online, target)


def check_target_update(where: str, update: Any) -> AbstractTargetUpdate:
    """`update`, or for `None` a target network that always equals the online network.

    **Raises:** `WiringError` for anything else.
    """
    if update is None:
        return Periodic(1)
    if isinstance(update, AbstractTargetUpdate):
        return update
    raise WiringError(
        format_error(
            where,
            wanted="a target update",
            got=f"{update!r}",
            fix="Pass fx.periodic(period) or fx.polyak(step_size).",
        )
    )


@suggest_keywords
def periodic(period: int) -> Periodic:
    """Periodic target updates: copy the online network every `period` updates.

    Mnih et al. 2015, "Human-level control through deep reinforcement learning", algorithm 1.

    **Raises:** `HyperparameterError` if `period` is not an int of at least 1.
    """
    return Periodic(check_count("periodic: period", period))


@suggest_keywords
def polyak(step_size: Fraction, *, period: int = 1) -> Polyak:
    """Polyak averaging of the online network: `target += step_size * (online - target)`.

    Lillicrap et al. 2016, "Continuous control with deep reinforcement learning", section 3.

    **Arguments:**

    - `period`: in updates; 2 gives the delayed updates of Fujimoto et al. 2018, "Addressing
      Function Approximation Error in Actor-Critic Methods", section 5.2.

    **Raises:** `HyperparameterError` if `step_size` is not in [0, 1], or `period` is not an
    int of at least 1.
    """
    size = check_number("polyak: step_size", step_size, Interval(0.0, 1.0), schedule=True)
    return Polyak(size, check_count("polyak: period", period))
