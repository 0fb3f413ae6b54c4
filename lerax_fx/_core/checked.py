"""Data whose fields can be checked again."""

from dataclasses import fields
from typing import Any

import equinox as eqx


class Checked(eqx.Module):
    """Data that is checked where it is made: by the runtime type checkers, and by its own
    `__check_init__`. `equinox.tree_at` and `jax.tree.map` make new data past both.
    """

    def checked(self) -> "Checked":
        """The same, made anew, so that what was changed since is checked as well."""
        return type(self)(**{field.name: _checked(self, field.name) for field in fields(self)})


def _checked(data: Any, name: str) -> Any:
    value = getattr(data, name)
    return value.checked() if isinstance(value, Checked) else value
