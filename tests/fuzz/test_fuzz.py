"""Every random program trains, or is refused in words that name the place.

python -m pytest -m slow tests/fuzz
"""

import collections
import json
import os
import subprocess
import sys

import pytest


def outcomes(first, last):
    """Of a process without runtime type checks, as users have it: those refuse wrong arguments
    before the package's own checks see them, in words of their own.
    """
    command = [sys.executable, "-m", "tests.fuzz.programs", "--seeds", str(first), str(last)]
    env = {**os.environ, "LERAX_FX_TYPECHECK": "off"}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    found = dict(json.loads(line) for line in result.stdout.splitlines())
    assert list(found) == list(range(first, last))
    return found


def check(found):
    wrong = {seed: text for seed, text in found.items() if text.startswith("WRONG")}
    assert not wrong
    for text in found.values():
        # "place: wanted this, got that. Do so."
        assert text == "trains" or (": wanted " in text and ", got " in text)


def test_a_few_random_programs():
    check(outcomes(0, 6))


@pytest.mark.slow
def test_many_random_programs():
    found = outcomes(100, 300)
    check(found)
    kinds = collections.Counter(text.split(":")[0] for text in found.values())
    print(f"\n{kinds}")
    assert kinds["trains"] >= 15
    assert len(set(found.values())) >= 60
