"""The one switch for runtime type checks: the environment variable `LERAX_FX_TYPECHECK`.

    LERAX_FX_TYPECHECK=beartype python -m recipes.ppo

- `beartype` or `typeguard`: the shapes and dtypes that annotations state are checked in
  every call, while JAX traces. Compiled code is the same, and as fast.
- unset, empty, `0` or `off`: nothing is checked, and no checker is imported.

It is read once, when `lerax_fx` is first imported; `recipes` is checked with it.
"""

import os
from importlib.metadata import PackageNotFoundError, version
from typing import Final

VARIABLE: Final = "LERAX_FX_TYPECHECK"
PACKAGES: Final = ("lerax_fx", "recipes")
CHECKERS: Final = {"beartype": "beartype.beartype", "typeguard": "typeguard.typechecked"}
OFF: Final = ("", "0", "off")


def install_from_environment() -> str | None:
    """Turn checks on if the environment says so, for what is imported from here on.

    Gives the checker's name, or None if checks are off.

    **Raises:** `HyperparameterError` for a value of the variable that means nothing, and
    for a checker that is not installed or has a version that will not do.
    """
    choice = os.environ.get(VARIABLE, "").strip().lower()
    if choice in OFF:
        return None
    _check_usable(choice)
    from jaxtyping import install_import_hook

    install_import_hook(PACKAGES, CHECKERS[choice])
    return choice


def _check_usable(choice: str) -> None:
    if choice not in CHECKERS:
        _refuse(
            wanted=f"{', '.join(CHECKERS)} or off",
            got=repr(choice),
            fix="Set it to one of those, or unset it.",
        )
    try:
        installed = version(choice)
    except PackageNotFoundError:
        installed = None
    # typeguard 4 parses annotations itself, and jaxtyping's shapes are no expressions.
    if choice == "typeguard" and not (installed or "").startswith("2.13."):
        _refuse(
            wanted="typeguard 2.13",
            got=f"typeguard {installed}" if installed else "no typeguard installed",
            fix="Install it with: pip install 'lerax-fx[typeguard]'.",
        )
    if installed is None:
        _refuse(
            wanted=f"{choice} to be installed",
            got="no such package",
            fix=f"Install it with: pip install {choice}.",
        )


def _refuse(*, wanted: str, got: str, fix: str) -> None:
    # Imported here, so that with checks on this module is checked as well.
    from lerax_fx.errors import HyperparameterError, explain

    raise HyperparameterError(
        explain(f"the environment variable {VARIABLE}", wanted=wanted, got=got, fix=fix)
    )
