"""Every Python block in the README and the docs runs, and does what the page says."""

import re
from pathlib import Path

import pytest

import lerax_fx as fx

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:<!-- raises: (\w+): (.*?) -->\n)?```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page):
    names = {"__name__": page.stem}
    for error, message, code in BLOCK.findall(page.read_text()):
        program = compile(code, str(page), "exec")
        if error:
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
