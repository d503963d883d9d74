"""Texts that end an answer, however it comes in pieces."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from balancedit.serving.http.stops import Stops

letters = st.text("ab.", max_size=12)


@settings(derandomize=True, database=None, deadline=None)
@given(st.lists(letters, max_size=8), st.lists(st.text("ab.", min_size=1, max_size=4), max_size=3))
def test_what_is_given_is_the_text_up_to_the_first_whole_stop(
    pieces: list[str], texts: list[str]
) -> None:
    stops = Stops(texts)
    given_on = [stops.take(piece) for piece in pieces]
    whole = "".join(pieces)
    found = [(whole.find(text) + len(text), whole.find(text)) for text in texts if text in whole]
    _, end = min(found, default=(0, len(whole)))
    assert "".join(given_on) + stops.rest() == whole[:end]
    assert stops.found is bool(found)


def test_only_what_may_begin_one_is_held_back() -> None:
    stops = Stops([".\n\n"])
    assert stops.take("An owl.") == "An owl"
    assert stops.take("\n") == ""
    assert stops.take("It sees.") == ".\nIt sees"
    assert stops.rest() == "."
    assert not stops.found
