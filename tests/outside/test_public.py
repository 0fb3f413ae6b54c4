"""The programs of this folder need nothing but the public API."""

import ast
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("*.py"))
LONGEST = 60


def names(node):
    """The names that a node reads, imports, or passes as keywords."""
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.alias):
        return node.name.split(".")
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")
    return [node.arg] if isinstance(node, ast.keyword) and node.arg else []


def is_private(name):
    return name.startswith("_") and name != "_" and not name.endswith("__")


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_public_names_only(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    assert not [name for node in nodes for name in names(node) if is_private(name)]
    modules = [module for node in nodes for module in imported(node)]
    assert not [module for module in modules if module.startswith("lerax_fx.")]
    assert "recipes" not in {module.split(".")[0] for module in modules}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    assert not [node for node in froms if (node.module or "").startswith("lerax_fx")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_programs_are_short(path):
    """Lines of code: without imports, docstrings, comments and blank lines."""
    if path.name in ("environments.py", Path(__file__).name):
        return
    source = path.read_text()
    nodes = list(ast.walk(ast.parse(source)))
    lines = {number for number, line in enumerate(source.splitlines(), 1) if line.strip()}
    lines -= {n for n, line in enumerate(source.splitlines(), 1) if line.strip()[:1] == "#"}
    for node in nodes:
        literal = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if literal or isinstance(node, ast.Import | ast.ImportFrom):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    assert len(lines) <= LONGEST, f"{len(lines)} lines"
