"""What every test has: runtime type checks, on before lerax_fx is imported."""

import importlib.metadata
import os
import sys
from collections.abc import Iterator

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
    slow = "slow" in config.getoption("markexpr").replace("not slow", "")
    if slow:
        # What trains for long keeps its one thread busy, and pytest-xdist has a worker for each
        # core; with XLA's two on two cores a run of PPO over five seeds once stood still for good.
        os.environ.setdefault("NPROC", "1")
    else:
        # Most of the time goes into compiling, and half of that into optimising what then runs
        # for a moment. What trains for long is compiled as for users.
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        if importlib.metadata.version("jaxlib").startswith("0.10."):
            # The emitters of 0.10 that are not the default compile small programs in half the
            # time; earlier and later releases do not have the choice, and stop at the flag.
            flags = os.environ.get("XLA_FLAGS", "")
            os.environ["XLA_FLAGS"] = f"--xla_cpu_use_fusion_emitters=false {flags}".strip()


@pytest.fixture(scope="module", autouse=True)
def _forget_programs() -> Iterator[None]:
    """Those of a finished module: a worker would keep gigabytes of them."""
    yield
    import jax

    jax.clear_caches()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`quick("a", "b")` on a test of many parameters: all cases but those of these ids are slow."""
    named, seen = set[tuple[str, str]](), set[tuple[str, str]]()
    for item in items:
        marker = item.get_closest_marker("quick")
        if marker is None:
            continue
        test, _, case = item.nodeid.partition("[")
        case = case.removesuffix("]")
        named |= {(test, quick) for quick in marker.args}
        seen.add((test, case))
        if case not in marker.args:
            item.add_marker(pytest.mark.slow)
    whole = not any("::" in argument for argument in config.args)
    if whole and named - seen:
        raise pytest.UsageError(f"quick: no such cases: {sorted(named - seen)}")


def pytest_report_header(config: pytest.Config) -> str:
    return f"runtime type checks: {config.getoption('--typecheck')}"
