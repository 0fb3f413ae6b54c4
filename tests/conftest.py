"""What every test has: runtime type checks, on before lerax_fx is imported."""

import os
import sys

import pytest

VARIABLE = "LERAX_FX_TYPECHECK"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--typecheck",
        choices=["beartype", "typeguard", "off"],
        default=os.environ.get(VARIABLE) or "beartype",
        help=f"runtime type checks in this run (default: {VARIABLE}, else beartype)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if "lerax_fx" in sys.modules:
        raise pytest.UsageError("lerax_fx was imported before the type checks were chosen")
    os.environ[VARIABLE] = config.getoption("--typecheck")


def pytest_report_header(config: pytest.Config) -> str:
    return f"runtime type checks: {config.getoption('--typecheck')}"
