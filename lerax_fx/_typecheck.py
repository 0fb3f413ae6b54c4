"""The one switch for runtime type checks: the environment variable `LERAX_FX_TYPECHECK`.

    LERAX_FX_TYPECHECK=beartype python -m recipes.ppo

- `beartype` or `typeguard`: the shapes and dtypes that annotations state are checked in
  every call, while JAX traces. Compiled code is the same, and as fast, but for hyperparameters
  that are traced: whether they lie in their intervals is checked when it runs.
- unset, empty, `0` or `off`: nothing is checked, and no checker is imported.

It is read once, when `lerax_fx` is first imported; `recipes` is checked with it.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import PackageNotFoundError, version
from types import CodeType, ModuleType
from typing import Any, Final

VARIABLE: Final = "LERAX_FX_TYPECHECK"
PACKAGES: Final = ("lerax_fx", "recipes")
CHECKERS: Final = {"beartype": "beartype.beartype", "typeguard": "typeguard.typechecked"}
OFF: Final = ("", "0", "off")


def enabled() -> bool:
    """Whether the checks are on."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


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

    hook = install_import_hook(PACKAGES, CHECKERS[choice]).hook
    sys.meta_path[sys.meta_path.index(hook)] = _Finder(hook)
    return choice


class _Finder(MetaPathFinder):
    """jaxtyping's finder, whose checked bytecode is never written to disk.

    jaxtyping files it under a name of its own, but not for `python -m recipes.ppo`, where
    `runpy` asks the loader for the code itself. The checked code then took the place of
    the plain one, and every later import without checks failed on a KeyError.
    """

    def __init__(self, hook: MetaPathFinder):
        self.hook = hook

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = self.hook.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, checked: SourceFileLoader):
        super().__init__(checked.name, checked.path)
        self.checked = checked

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: Any = self.checked.source_to_code(self.get_data(path), path)
        return code


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
        installed = "none installed"
    # typeguard 4 parses annotations itself, and jaxtyping's shapes are no expressions.
    if choice == "typeguard" and not installed.startswith("2.13."):
        _refuse(
            wanted="typeguard 2.13",
            got=installed,
            fix="Install it with: pip install 'lerax-fx[typeguard]'.",
        )


def _refuse(*, wanted: str, got: str, fix: str) -> None:
    # Imported here, so that with checks on that module is checked as well.
    from lerax_fx.errors import HyperparameterError, format_error

    raise HyperparameterError(
        format_error(f"the environment variable {VARIABLE}", wanted=wanted, got=got, fix=fix)
    )
