"""Entries of Dict observations: action masks, and what an actor or a critic sees."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lerax_fx.agents.encoding import part_at
from lerax_fx.data import Timed
from lerax_fx.envs.timed_space import TimedSpace
from lerax_fx.errors import HyperparameterError, WiringError, format_error
from lerax_fx.spaces import Box, Dict, Discrete, MultiBinary, Space
from lerax_fx.typing import Tree


@final
class ActionMask(eqx.Module):
    """Which actions an observation allows, by an entry of it; all of it is structure.

    Huang & Ontanon 2022, "A Closer Look at Invalid Action Masking in Policy Gradient Algorithms".

    - `entry`: the name of the entry: a bool or a 0 or 1 for each action.
    """

    entry: str = eqx.field(static=True)

    def __call__(self, observation: Tree) -> Bool[Array, " actions"]:
        """Whether each action is allowed; where none is, as after an episode's end, all are."""
        path = ("value", self.entry) if isinstance(observation, Timed) else (self.entry,)
        allowed = jnp.asarray(part_at(observation, path)) != 0
        return allowed | ~jnp.any(allowed)


def mask_values(
    values: Float[Array, " actions"], allowed: Bool[Array, " actions"] | None
) -> Float[Array, " actions"]:
    """Logits or Q-values with the lowest finite number in place of those of actions that are not
    allowed: as logits of probability 0, never the largest, and without a gradient.
    """
    if allowed is None:
        return values
    return jnp.where(allowed, values, jnp.finfo(values.dtype).min)


def allowed_actions(mask: ActionMask | None, observation: Tree) -> Bool[Array, " actions"] | None:
    """`mask` of an observation; `None` for no mask."""
    return None if mask is None else mask(observation)


def split_mask(
    where: str, observations: Space, actions: Space, action_mask: str | None
) -> tuple[Space, ActionMask | None]:
    """The space of the observations without the mask, and the mask.

    **Raises:** `WiringError` if actions are not `Discrete`, if observations have no such entry, or
    if it is not a bool, or a 0 or 1, for each action.
    """
    if action_mask is None:
        return observations, None
    where = f"{where}: action_mask"
    if not isinstance(actions, Discrete):
        raise WiringError(
            format_error(
                where,
                wanted="Discrete actions, each of which is allowed or not",
                got=f"{actions!r}",
                fix="Leave action_mask out.",
            )
        )
    entries = _entries(where, observations)
    _check_known(where, entries, (action_mask,))
    _check_mask(f"{where} {action_mask!r}", entries[action_mask], actions.n)
    rest = tuple(name for name in entries if name != action_mask)
    return _selected(observations, rest), ActionMask(action_mask)


def select_entries(where: str, observations: Space, names: str | tuple[str, ...] | None) -> Space:
    """The space of these entries alone; as it is for `None`.

    **Raises:** `WiringError` if observations are no `Dict` or lack one of the entries;
    `HyperparameterError` for no names.
    """
    if names is None:
        return observations
    given: Any = (names,) if isinstance(names, str) else names
    if not (isinstance(given, tuple | list) and given):
        raise HyperparameterError(
            format_error(
                where,
                wanted="at least one name of an entry, or None for all of them",
                got=f"{names!r}",
                fix="Name what is to be seen.",
            )
        )
    _check_known(where, _entries(where, observations), tuple(given))
    return _selected(observations, tuple(given))


def actor_and_critic_entries(
    where: str,
    observations: Space,
    actor_sees: str | tuple[str, ...] | None,
    critic_sees: str | tuple[str, ...] | None,
) -> tuple[Space, Space | None]:
    """The space of what the actor sees, and that of what the critic sees; `None` for the critic
    where both see everything.

    **Raises:** as `select_entries` does.
    """
    if actor_sees is None and critic_sees is None:
        return observations, None
    return (
        select_entries(f"{where}: actor_sees", observations, actor_sees),
        select_entries(f"{where}: critic_sees", observations, critic_sees),
    )


def _selected(observations: Space, names: tuple[str, ...]) -> Space:
    if isinstance(observations, TimedSpace):
        return TimedSpace(_selected(observations.value, names), observations.dt)
    assert isinstance(observations, Dict), "checked by _entries"
    return Dict({name: observations.spaces[name] for name in names})


def _entries(where: str, observations: Space) -> dict[str, Space]:
    inner = observations.value if isinstance(observations, TimedSpace) else observations
    if isinstance(inner, Dict):
        return inner.spaces
    raise WiringError(
        format_error(
            where,
            wanted="observations with entries by name: a Dict",
            got=f"{observations!r}",
            fix="Write an environment whose observation_space is a fx.spaces.Dict.",
        )
    )


def _check_known(where: str, entries: dict[str, Space], names: tuple[Any, ...]) -> None:
    for name in names:
        if not isinstance(name, str) or name not in entries:
            raise WiringError(
                format_error(
                    where,
                    wanted=f"one of the observation's entries, {', '.join(map(repr, entries))}",
                    got=repr(name),
                    fix="Name an entry of the observation_space.",
                )
            )


def _check_mask(where: str, space: Space, num_actions: int) -> None:
    if isinstance(space, MultiBinary | Box) and space.shape != (num_actions,):
        raise WiringError(
            format_error(
                where,
                wanted=f"an entry of shape {(num_actions,)}, one for each action",
                got=f"shape {space.shape}",
                fix="Give a bool for each action.",
            )
        )
    if not (isinstance(space, MultiBinary) or _is_zero_or_one(space)):
        raise WiringError(
            format_error(
                where,
                wanted="bools, or integers that are 0 or 1",
                got=f"{space!r}",
                fix=f"Make its space fx.spaces.MultiBinary({num_actions}), or "
                f"fx.spaces.Box(False, True, ({num_actions},), bool).",
            )
        )


def _is_zero_or_one(space: Space) -> bool:
    if not isinstance(space, Box) or np.issubdtype(space.dtype, np.floating):
        return False
    if space.dtype == np.bool_:
        return True
    return bool(np.all(np.asarray(space.low) >= 0) and np.all(np.asarray(space.high) <= 1))
