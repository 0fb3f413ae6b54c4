"""Every Python block in the README and the docs runs, and does what the page says.

A block after `<!-- traced -->` is traced, but not compiled: that finds all but wrong numbers, in a
fraction of the time. Later blocks do not have its names.
"""

import dataclasses
import inspect
import re
from functools import partial
from pathlib import Path

import jax
import pytest

import lerax_fx as fx

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(
    r"(?:<!-- (?:(traced)|raises: (\w+): (.*?)) -->\n)?```python\n(.*?)```", re.DOTALL
)


@pytest.mark.quick("README.md", "extending.md")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    names = {"__name__": page.stem}
    for traced, error, message, code in BLOCK.findall(page.read_text()):
        program = compile(code, str(page), "exec")
        if traced:
            jax.eval_shape(partial(exec, program, dict(names)))
        elif error:
            with pytest.raises(getattr(fx, error), match=re.escape(message)):
                exec(program, names)
        else:
            exec(program, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_has_two_commands():
    (block,) = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    run, test = block.strip().splitlines()
    assert run.endswith("-m recipes.ppo")
    assert "pytest" in test


def test_an_environment_of_ones_own_takes_under_40_lines():
    text = (ROOT / "docs" / "environments.md").read_text()
    block = next(code for *_, code in BLOCK.findall(text) if "class RandomWalk" in code)
    definition = block[block.index("class RandomWalk") : block.index("env = ")]
    assert len(definition.strip().splitlines()) < 40


def test_every_primitive_has_an_entry():
    documented = (ROOT / "docs" / "primitives.md").read_text()
    spaces = (fx, fx.envs, fx.losses, fx.nde, fx.planning)
    public = {name: getattr(space, name) for space in spaces for name in space.__all__}
    functions = [n for n, it in public.items() if n.islower() and callable(it)]
    elsewhere = {"chain", "check_env", "combine", "make"}
    elsewhere |= {"named_hyperparameters", "partition", "box_scaling", "split_time"}
    elsewhere |= {name for name in functions if name.startswith("forward_")}
    elsewhere |= {name for name in functions if name.endswith(("actor_critic", "_agent"))}
    missing = [name for name in functions if f"`{name}" not in documented]
    assert set(missing) <= elsewhere, missing


def test_every_entry_has_arguments_that_are_there():
    # Of functions whose arguments go on to Optax, `**kwargs` takes all.
    documented = (ROOT / "docs" / "primitives.md").read_text()
    spaces = (fx, fx.envs, fx.losses, fx.nde, fx.planning, fx.agents)
    public = {name: getattr(space, name) for space in spaces for name in space.__all__}
    rows = [line.split(" | ")[0] for line in documented.splitlines() if line.startswith("| `")]
    entries = [entry for row in rows for entry in re.findall(r"`(\w+)\(([^`]*)\)`", row)]
    assert len(entries) > 40
    for name, arguments in entries:
        function = getattr(public[name], "function", public[name])
        parameters = inspect.signature(function).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            continue
        keywords = set(re.findall(r"(\w+)=", arguments))
        assert keywords <= set(parameters), name
        kinds = [p for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert len(arguments.split(",")) - len(keywords) <= max(len(kinds), 1), name


def test_every_type_of_data_has_its_fields():
    text = (ROOT / "docs" / "data.md").read_text()
    sections = dict(re.findall(r"\n## (\w+)\n(.*?)(?=\n## |$)", text, re.DOTALL))
    for name in fx.data.__all__:
        rows = [line.split("|")[1] for line in sections[name].splitlines() if line[:3] == "| `"]
        fields = [field for row in rows for field in re.findall(r"`(\w+)`", row)]
        assert sorted(fields) == sorted(
            field.name for field in dataclasses.fields(getattr(fx.data, name))
        ), name
