"""The settings that tuning chooses among."""

from __future__ import annotations

import pytest

from balancedit.errors import InputError
from balancedit.methods import METHODS, configure
from balancedit.methods.spaces import LAST, SPACES, Candidate, candidates


def test_a_method_without_a_space_has_its_preset() -> None:
    assert SPACES.keys() < METHODS.keys()
    assert candidates("mend") == [Candidate({})]


@pytest.mark.parametrize("method", METHODS)
def test_candidates_are_settings_of_the_method_and_none_comes_twice(method: str) -> None:
    found = candidates(method)
    assert found[0] == Candidate({}, LAST)
    made = [(configure(method, "recommended", dict(c.options)), c.depth) for c in found]
    assert len(made) == len(set(made))


def test_the_seed_decides_the_order_alone() -> None:
    one, other = (candidates("grace", seed) for seed in (0, 1))
    assert one[1:6] != other[1:6]
    assert sorted(map(str, one)) == sorted(map(str, other))


def test_the_order_is_the_same_on_every_machine() -> None:
    assert candidates("grace")[:3] == [
        Candidate({}),
        Candidate({"epsilon": 6.0, "replace": "prompt", "lr": 0.1}, 0.7),
        Candidate({"epsilon": 3.0}, 0.85),
    ]


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(InputError, match="nearest: grace"):
        candidates("grave")
