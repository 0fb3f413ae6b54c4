"""Checks of arguments, for stages and recipes of one's own."""

from lerax_fx._core.arguments import (
    check_count,
    check_flag,
    check_number,
    keyword_names,
    suggest_keywords,
)
from lerax_fx.errors import format_error

__all__ = [
    "check_count",
    "check_flag",
    "check_number",
    "format_error",
    "keyword_names",
    "suggest_keywords",
]
