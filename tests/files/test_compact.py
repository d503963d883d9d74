"""Results files: a record a line, and the same values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from balancedit.files.compact import as_lines, write_lines

RESULTS = Path(__file__).parents[2] / "results"


def test_a_record_is_a_line_and_lines_are_added_alone() -> None:
    record = {f"figure {i}": i / 7 for i in range(12)}
    few = {"n": 2, "rows": {"first": record, "second": record}}
    more = {"n": 2, "rows": {"first": record, "second": record, "third": record}}
    lines = as_lines(few).splitlines()
    assert lines[1:5] == [
        ' "n": 2,',
        ' "rows": {',
        f'  "first": {json.dumps(record)},',
        f'  "second": {json.dumps(record)}',
    ]
    changed = set(as_lines(more).splitlines()) - set(lines)
    assert changed == {f'  "second": {json.dumps(record)},', f'  "third": {json.dumps(record)}'}


def test_what_has_little_nested_in_it_is_a_line() -> None:
    assert as_lines([{"a": [1, 2]}, {}]) == '[{"a": [1, 2]}, {}]\n'


@pytest.mark.parametrize(
    "value",
    [
        None,
        "ε → \n ' \"",
        [],
        {},
        [[], {}] * 60,
        {"long": list(range(500)), "ε": {"α": [0.1, 1e-300, -0.0, 10**30, True, None]}},
        {1: {2.5: "x" * 500}, None: ("a", ("b", "c" * 90)), False: [["d" * 400]]},
        [math.inf, -math.inf],
    ],
)
def test_what_is_read_back_is_equal(value: object) -> None:
    text = as_lines(value)
    assert json.loads(text) == json.loads(json.dumps(value))
    assert text.endswith("\n")
    assert as_lines(json.loads(text)) == text


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    write_lines(path, {"a": 1})
    with pytest.raises(TypeError):
        write_lines(path, {"a": object()})
    assert path.read_text() == '{"a": 1}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("*.json")), ids=lambda p: p.name)
def test_committed_results_are_compact(path: Path) -> None:
    assert path.read_text() == as_lines(json.loads(path.read_text()))
