"""Signatures that are for editors alone."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

if TYPE_CHECKING:

    def unchecked(function: Callable[P, R]) -> Callable[P, R]:
        """Keep the runtime type checkers from a function: typeguard cannot read
        `Concatenate`, and takes a `ParamSpec` for a function without keywords.
        """
        return function

else:
    # Static checkers drop the types of what `typing.no_type_check` decorates.
    from typing import no_type_check as unchecked

__all__ = ["unchecked"]
