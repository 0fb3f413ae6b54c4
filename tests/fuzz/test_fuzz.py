"""Every random program trains, or is refused in words that name the place.

python -m pytest -m slow tests/fuzz
"""

import collections

import pytest

from tests.fuzz.programs import outcome


def outcomes(seeds):
    return {seed: outcome(seed) for seed in seeds}


def check(found):
    wrong = {seed: text for seed, text in found.items() if text.startswith("WRONG")}
    assert not wrong
    for text in found.values():
        # "place: wanted this, got that. Do so."
        assert text == "trains" or (": wanted " in text and ", got " in text)


def test_a_few_random_programs():
    check(outcomes(range(12)))


@pytest.mark.slow
def test_many_random_programs():
    found = outcomes(range(100, 300))
    check(found)
    kinds = collections.Counter(text.split(":")[0] for text in found.values())
    print(f"\n{kinds}")
    assert kinds["trains"] >= 15
    assert len(set(found.values())) >= 60
