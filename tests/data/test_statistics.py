"""Statistics of a list of edits, counted by hand on a small one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from balancedit.data import statistics
from balancedit.data.sample import EditSample, FileImage, LocalityProbe, PortabilityProbe
from balancedit.errors import InputError

IMAGE = FileImage(Path(), "a.png")
FIRST = EditSample(
    id="1",
    image=IMAGE,
    question="What is this?",
    target="red panda",
    original_answer="cat",
    rephrases=("Name it.", "What do you see?"),
    image_rephrases=(IMAGE,),
    locality=(
        LocalityProbe("similar", IMAGE, "What is this?", "dog", "dog"),
        LocalityProbe("no-image", None, "What is this?", None),
    ),
    portability=(),
    category="animal",
    kind="name",
    shows="cat",
)
SECOND = replace(
    FIRST,
    id="2",
    question="How many are there?",
    target="two",
    original_answer="one",
    rephrases=("Name it.",),
    image_rephrases=(),
    locality=(LocalityProbe("similar", IMAGE, "How many are there?", "one", "dog"),),
    portability=(PortabilityProbe(None, "Is it alone?", "no"),),
    kind="count",
)
THIRD = replace(FIRST, id="3", category="food", shows="soup")


def test_counts() -> None:
    found = statistics.describe([FIRST, SECOND, THIRD])
    assert found["samples"] == 3
    assert found["things"] == 2
    assert list(found["categories"].items()) == [("animal", 2), ("food", 1)]
    assert found["kinds"] == {"name": 2, "count": 1}
    assert found["questions"] == 4
    assert found["rephrases"] == {"min": 1, "mean": 1.667, "max": 2}
    assert found["image_rephrases"] == {"min": 0, "mean": 0.667, "max": 1}
    assert found["target_words"] == {"min": 1, "mean": 1.667, "max": 2}
    assert found["original_answer_words"] == {"min": 1, "mean": 1, "max": 1}
    assert found["locality"] == {
        "similar": 3,
        "same-image": 0,
        "unrelated": 0,
        "no-image": 2,
        "black": 0,
    }
    assert found["locality_per_sample"] == {"min": 1, "mean": 1.667, "max": 2}
    assert found["sharing_answer"] == 1
    assert found["portability"] == 1
    json.dumps(found)


def test_no_samples_are_an_error() -> None:
    with pytest.raises(InputError, match="no samples"):
        statistics.describe([])


def test_the_table_has_a_column_a_part() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(
            statistics.table(
                {
                    "small": statistics.describe([FIRST]),
                    "large": statistics.describe([FIRST, SECOND, THIRD]),
                }
            )
        )
    rows = [re.split(r" {2,}", line.strip()) for line in captured.get().splitlines()]
    cells = {label: values for label, *values in rows}
    assert rows[0] == ["small", "large"]
    assert cells["edits"] == ["1", "3"]
    assert cells["food"] == ["0", "1"]
    assert cells["rephrasings an edit"] == ["2", "1.7 (1 to 2)"]
    assert cells["locality probes"] == ["2", "5"]
