"""The policy that fits an action space."""

from typing import Any

import numpy as np
from jax.core import Tracer

from lerax_fx.agents.policies.bernoulli import BernoulliPolicy
from lerax_fx.agents.policies.categorical import CategoricalPolicy, MultiCategoricalPolicy
from lerax_fx.agents.policies.gaussian import GaussianPolicy, SquashedGaussianPolicy
from lerax_fx.agents.policies.policy import AbstractPolicy
from lerax_fx.agents.policies.squashed_normal import Bounds
from lerax_fx.environments.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from lerax_fx.errors import WiringError, explain


def policy_for(
    space: Space, *, squash: bool = False, log_std: float = 0.0, where: str = "policy_for"
) -> AbstractPolicy:
    """The policy over a space's actions.

    **Arguments:**

    - `squash`: for a `Box`, whether actions are squashed to its bounds.
    - `log_std`: for a `Box`, what the log of the standard deviation starts at.
    - `where`: what errors call the place.

    **Raises:** `WiringError` for a space without a policy, and if `squash` is asked of one
    that is not a `Box` of floats with known, finite bounds.
    """
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        if not squash:
            return GaussianPolicy(space.shape, log_std)
        low, high = _known_bounds(where, space)
        return SquashedGaussianPolicy(space.shape, low, high, log_std)
    if squash:
        raise _no_squash(where, space, "a Box of floats to squash actions into")
    if isinstance(space, Discrete):
        return CategoricalPolicy(space.n)
    if isinstance(space, MultiDiscrete):
        return MultiCategoricalPolicy(space.nvec)
    if isinstance(space, MultiBinary):
        return BernoulliPolicy(space.n)
    raise WiringError(
        explain(
            f"{where}: actions",
            wanted="a Discrete, MultiDiscrete or MultiBinary space, or a Box of floats",
            got=f"{space!r}",
            fix="Write an environment whose actions are one of these, or an agent whose "
            "policy gives the distribution that you need.",
        )
    )


def _known_bounds(where: str, space: Box) -> tuple[Bounds, Bounds]:
    if isinstance(space.low, Tracer) or isinstance(space.high, Tracer):
        raise _no_squash(
            where,
            space,
            "bounds that are known while tracing",
            fix="Make the agent outside of jit and vmap, or close over the environment.",
        )
    low, high = np.asarray(space.low, float), np.asarray(space.high, float)
    if not (space.bounded and np.all(low < high)):
        raise _no_squash(where, space, "finite bounds, the lower below the upper")
    return _as_tuples(low.tolist()), _as_tuples(high.tolist())


def _as_tuples(value: Any) -> Bounds:
    if isinstance(value, list):
        return tuple(_as_tuples(each) for each in value)  # pyright: ignore[reportUnknownVariableType] -- nested lists
    return float(value)


def _no_squash(
    where: str, space: Space, wanted: str, fix: str = "Leave out squash=True."
) -> WiringError:
    return WiringError(explain(f"{where}: squash", wanted=wanted, got=f"{space!r}", fix=fix))
