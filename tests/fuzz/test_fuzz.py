"""Every random program trains, or is refused in words that name the place.

python -m pytest -m slow tests/fuzz
"""

import collections
import json
import os
import subprocess
import sys

import pytest


def lines(module, first, last):
    """Of a process without runtime type checks, as users have it: those refuse wrong arguments
    before the package's own checks see them, in words of their own.
    """
    command = [sys.executable, "-m", f"tests.fuzz.{module}", "--seeds", str(first), str(last)]
    env = {**os.environ, "LERAX_FX_TYPECHECK": "off"}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [seed for seed, *_ in found] == list(range(first, last))
    return found


def check(texts):
    assert not [text for text in texts if text.startswith("WRONG")]
    for text in texts:
        # "place: wanted this, got that. Do so."
        assert text in ("trains", "traces") or (": wanted " in text and ", got " in text)


def test_a_few_random_programs():
    check([text for _, text in lines("programs", 0, 6)])


@pytest.mark.slow
def test_many_random_programs():
    texts = [text for _, text in lines("programs", 100, 300)]
    check(texts)
    kinds = collections.Counter(text.split(":")[0] for text in texts)
    print(f"\n{kinds}")
    assert kinds["trains"] >= 15
    assert len(set(texts)) >= 60


def check_mistakes(first, last):
    """Of right programs with a mistake or two, traced: those without any have to fit."""
    found = lines("mutations", first, last)
    check([text for *_, text in found])
    assert not [seed for seed, mistakes, text in found if not mistakes and text != "traces"]
    return collections.Counter(text.split(":")[0] for *_, text in found)


def test_a_few_mistakes():
    assert check_mistakes(0, 12)["refused"] >= 4


@pytest.mark.slow
def test_many_mistakes():
    assert check_mistakes(1000, 1250)["refused"] >= 125
