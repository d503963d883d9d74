from __future__ import annotations

import pytest

from balancedit.scope.radius import influence_radius


def test_alpha_weighs_the_positive_distance() -> None:
    radius = influence_radius([1.0], 5.0, 0.2, keep_degenerate=True)
    assert radius.value == pytest.approx(0.2 * 1.0 + 0.8 * 5.0)
    assert radius.warnings == ()


def test_a_larger_alpha_makes_a_smaller_radius() -> None:
    radii = [influence_radius([1.0], 5.0, a, keep_degenerate=True).value for a in (0, 0.5, 1)]
    assert radii == [5.0, 3.0, 1.0]


def test_several_positives_count_by_their_mean() -> None:
    radius = influence_radius([1.0, 3.0], 5.0, 1.0, keep_degenerate=True)
    assert (radius.value, radius.d_positive) == (2.0, 2.0)


@pytest.mark.parametrize(("keep", "value"), [(True, 0.2 * 6 + 0.8 * 5), (False, 0.8 * 5)])
def test_a_degenerate_estimate_warns_and_follows_the_preset(keep: bool, value: float) -> None:
    radius = influence_radius([6.0], 5.0, 0.2, keep_degenerate=keep)
    assert radius.value == pytest.approx(value)
    assert len(radius.warnings) == 1
    assert "give better rephrasings" in radius.warnings[0]


def test_equal_distances_are_degenerate() -> None:
    assert influence_radius([5.0], 5.0, 0.2, keep_degenerate=False).warnings
