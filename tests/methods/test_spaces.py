"""The settings that tuning chooses among."""

from __future__ import annotations

import pytest

from balancedit.errors import InputError
from balancedit.methods import METHODS, configure
from balancedit.methods.spaces import LAST, SPACES, Candidate, candidates

ALL = 10**6


def test_every_method_has_a_space() -> None:
    assert SPACES.keys() == METHODS.keys()


@pytest.mark.parametrize("method", SPACES)
def test_candidates_are_settings_of_the_method_and_none_comes_twice(method: str) -> None:
    found = candidates(method, ALL)
    assert found[0] == Candidate({}, LAST)
    made = [(configure(method, "recommended", dict(c.options)), c.depth) for c in found]
    assert len(made) == len(set(made))


def test_a_larger_budget_goes_on_from_a_smaller_and_the_seed_decides() -> None:
    assert candidates("grace", 9)[:5] == candidates("grace", 5)
    assert candidates("grace", 5, seed=1) != candidates("grace", 5)
    one, other = (candidates("grace", ALL, seed) for seed in (0, 1))
    assert sorted(map(str, one)) == sorted(map(str, other))


def test_the_order_is_the_same_on_every_machine() -> None:
    assert candidates("grace", 3) == [
        Candidate({}),
        Candidate({"epsilon": 6.0, "replace": "prompt", "lr": 0.1}, 0.7),
        Candidate({"epsilon": 3.0}, 0.85),
    ]


def test_what_cannot_be_tuned_is_said() -> None:
    with pytest.raises(InputError, match="nearest: grace"):
        candidates("grave", 3)
    with pytest.raises(InputError, match="give 1 or more"):
        candidates("grace", 0)
