"""What holds for the project as a whole: layout, imports, and the switch for type checks."""

import ast
import graphlib
import importlib.metadata
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lerax_fx

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("lerax_fx/**/*.py"), *ROOT.glob("recipes/**/*.py")])
SWITCH = "LERAX_FX_TYPECHECK"


def run_python(
    code: str, *, typecheck: str | None = None, cwd: Path = ROOT, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that finds this checkout, bytecode cached as usual."""
    kept = {k: v for k, v in os.environ.items() if k not in (SWITCH, "PYTHONDONTWRITEBYTECODE")}
    chosen = {} if typecheck is None else {SWITCH: typecheck}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": os.pathsep.join([str(cwd), str(ROOT)]), **chosen},
        cwd=cwd,
        check=check,
        capture_output=True,
        text=True,
    )


def test_there_is_nothing_else_at_the_top() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    top = {name.split("/")[0] for name in listed if not name.startswith(".")}
    files = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "pyproject.toml"}
    assert top == {"docs", "lerax_fx", "recipes", "tests", "typings"} | files


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert importlib.metadata.version("lerax-fx") == project["version"]
    assert lerax_fx.__version__ == project["version"]


def package_of(module: str) -> str:
    """The node of the import graph that a module belongs to."""
    package = ".".join(module.split(".")[:2]).removeprefix("lerax_fx.")
    # One package: `fx.replay` is a function, so that its own is private.
    return {"_replay": "stages"}.get(package.split(".")[0], package.split(".")[0])


def imported_modules(path: Path) -> set[str]:
    """The modules of the package that a file imports, at its top or within a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "lerax_fx":
            parts = {f"lerax_fx.{alias.name}" for alias in node.names}
            found |= {part for part in parts if (ROOT / part.replace(".", "/")).is_dir()}
            found |= {part for part in parts if (ROOT / f"{part.replace('.', '/')}.py").exists()}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {module for module in found if module.split(".")[0] == "lerax_fx"}


def import_graph() -> dict[str, set[str]]:
    """Which packages each one imports, without what follows from the others."""
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        package = package_of(module.removesuffix(".__init__"))
        imported = {package_of(other) for other in imported_modules(path)}
        graph.setdefault(package, set()).update(imported - {package})
    reached: dict[str, set[str]] = {}
    for package in graphlib.TopologicalSorter(graph).static_order():  # raises for a cycle
        direct = graph.get(package, set())
        reached[package] = direct.union(*(reached[other] for other in direct))
    return {
        package: direct - set[str]().union(*(reached[other] for other in direct))
        for package, direct in graph.items()
    }


def test_the_diagram_of_imports_is_what_is_imported() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (diagram,) = re.findall(r"```mermaid\ngraph TD\n(.*?)```", text, flags=re.DOTALL)
    drawn = [line.strip() for line in diagram.splitlines()]
    arrows = [f"{a} --> {b}" for a, imported in import_graph().items() for b in imported]
    assert drawn == sorted(arrows), "\n".join(["The diagram should be:", *sorted(arrows)])


def test_ci_leaves_a_developers_environment_alone(tmp_path: Path) -> None:
    # The script, with a Python that makes an environment of stubs: each prints its arguments.
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    stub = tmp_path / "python"
    stub.write_text(
        "#!/usr/bin/env bash\n"
        'echo "$0 $*"\n'
        '[[ "$1 $2" == "-m venv" ]] || exit 0\n'
        'mkdir -p "$3/bin"\n'
        'for tool in python python3 pip ruff pyright; do cp -f "$STUB" "$3/bin/$tool"; done\n'
    )
    stub.chmod(0o755)
    for name in (".ci", ".venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".venv/bin/own").touch()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    shutil.copy(ROOT / "README.md", tmp_path)
    done = subprocess.run(
        ["bash", str(tmp_path / ".ci/run")],
        env={**os.environ, "PYTHON": str(stub), "STUB": str(stub)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert [path.name for path in tmp_path.glob(".venv/bin/*")] == ["own"]
    assert ".ci/venv/bin/python -m pytest -q -n auto\n" in done.stdout
    assert ".ci/venv/bin/python3 -m venv .ci/venv\n" in done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_annotations_stay_objects(path: Path) -> None:
    # The runtime type checkers need them.
    assert "from __future__" not in path.read_text()


def test_every_ignore_names_its_rule() -> None:
    blanket = re.compile(
        r"#\s*(type:\s*ignore(?!\[)|pyright:\s*ignore(?!\[)|pyright:\s*(basic|strict|standard)"
        r"|noqa(?!:\s*[A-Z]+\d)|ruff:\s*noqa|mypy:\s*ignore)"
    )
    here = Path(__file__)
    paths = [*SOURCES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("typings/**/*.pyi")]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        if path != here
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if blanket.search(line)
    ]
    assert found == []


def test_the_lock_holds_what_the_package_asks_for_and_nobodys_address() -> None:
    lock = (ROOT / ".ci/requirements.lock").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, flags=re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = {re.split(r"[\[<>=!~ ]", entry)[0] for group in groups for entry in group}
    assert asked - {"lerax-fx"} <= pinned
    assert "://" not in lock
    assert "--index" not in lock.replace("--no-emit-index-url", "")


def test_what_a_run_does_not_need_is_not_imported() -> None:
    # Over what JAX and the others import themselves: jaxtyping imports typeguard if it can.
    code = (
        "import sys, jax, equinox, optax, rlax\n"
        "before = set(sys.modules)\n"
        "import lerax_fx\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    imported = set(run_python(code).stdout.split())
    unwanted = {
        "beartype",
        "diffrax",
        "gymnax",
        "matplotlib",
        "recipes",
        "rich",
        "tyro",
        "typeguard",
    }
    assert "lerax_fx" in imported
    assert imported & unwanted == set()


@pytest.mark.slow
def test_it_imports_about_as_fast_as_what_it_stands_on() -> None:
    # Both parts in one process: that the machine is busy slows them alike.
    code = (
        "import time\n"
        "start = time.perf_counter()\n"
        "import jax, equinox, optax, rlax\n"
        "middle = time.perf_counter()\n"
        "import lerax_fx\n"
        "print((time.perf_counter() - start) / (middle - start))"
    )
    run_python(code)  # compiles to bytecode
    ratio = statistics.median(float(run_python(code).stdout) for _ in range(5))
    assert ratio <= 1.2


def test_jax_keeps_its_settings() -> None:
    code = (
        "import jax, equinox, optax, rlax\n"
        "before = dict(jax.config.values)\n"
        "import lerax_fx, recipes\n"
        "assert dict(jax.config.values) == before"
    )
    run_python(code)


# `log_prob` has two steps, and everything else three.
MISUSE = """
import jax.numpy as jnp
import lerax_fx as fx
zeros, ends = jnp.zeros(3), jnp.zeros(3, bool)
try:
    fx.data.Rollout(zeros, zeros, zeros, ends, ends, zeros, jnp.zeros(2), zeros, zeros)
except Exception as error:
    print(type(error).__module__.split(".")[0])
else:
    print("unnoticed")
"""


@pytest.mark.quick("off", "None")
@pytest.mark.parametrize("value", ["", "0", "off", None])
def test_checks_are_off_unless_asked_for(value: str | None) -> None:
    assert run_python(MISUSE, typecheck=value).stdout.split() == ["unnoticed"]


@pytest.mark.quick("beartype", "typeguard")
@pytest.mark.parametrize("value", ["beartype", "typeguard", "Beartype"])
def test_checks_find_a_wrong_shape(value: str) -> None:
    assert run_python(MISUSE, typecheck=value).stdout.split() == ["jaxtyping"]


def test_a_value_that_means_nothing_is_refused_by_name() -> None:
    done = run_python("import lerax_fx", typecheck="mypy", check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("lerax_fx.errors.HyperparameterError: ")
    for part in (SWITCH, "'mypy'", "beartype", "typeguard", "off"):
        assert part in last


def test_a_typeguard_that_cannot_read_shapes_is_refused(tmp_path: Path) -> None:
    # Found before the installed one.
    metadata = tmp_path / "typeguard-4.4.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: typeguard\nVersion: 4.4.0\n")
    done = run_python("import lerax_fx", typecheck="typeguard", cwd=tmp_path, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("lerax_fx.errors.HyperparameterError: ")
    assert "wanted typeguard 2.13, got 4.4.0" in last


def test_a_checked_run_leaves_no_checked_bytecode_behind() -> None:
    # jaxtyping alone does, where a module is run with `python -m`: the next run without
    # checks would find it and fail.
    run = "import runpy, lerax_fx; runpy.run_module('lerax_fx.typing', run_name='__main__')"
    run_python(run, typecheck="beartype")
    names = [path.name for path in ROOT.glob("lerax_fx/**/__pycache__/*")]
    assert not [name for name in names if "jaxtyping" in name]
    run_python(run)


def test_modules_imported_late_and_recipes_are_checked_too() -> None:
    code = (
        "import lerax_fx\n"
        "from recipes import shell\n"
        "from lerax_fx.envs import gymnax\n"
        "print([hasattr(function, '__wrapped__') for function in (gymnax._convert, shell.main)])"
    )
    assert run_python(code, typecheck="beartype").stdout.strip() == "[True, True]"
    assert run_python(code).stdout.strip() == "[False, False]"
