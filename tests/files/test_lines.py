"""JSON Lines as people and programs write them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from balancedit.files import lines
from balancedit.files.lines import NotTextError, lines_of, read_lines


def values(path: Path, data: bytes, **how: bool) -> list[object]:
    path.write_bytes(data)
    found, _ = read_lines(path, **how)
    assert [line.wrong for line in found] == [None] * len(found)
    return [line.value for line in found]


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("behind", [b"", b"\n", b"\r\n\r\n  \t\n"])
def test_marks_ends_and_blank_lines(tmp_path: Path, mark: bytes, end: bytes, behind: bytes) -> None:
    data = mark + end.join([b'{"a": 1}', b"", b' {"a": 2} ']) + behind
    assert values(tmp_path / "f", data) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x7f", "\ufeff", "é 😀"])
def test_what_may_stand_inside_a_text(tmp_path: Path, sign: str) -> None:
    data = f'{{"a": "x{sign}y"}}\n{{"a": "z"}}\n'.encode()
    assert values(tmp_path / "f", data) == [{"a": f"x{sign}y"}, {"a": "z"}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "at byte 1 of the line"),
        ('{"é": 1 2}', "at byte 9 of the line"),
        ('{"a": 1} {"a": 2}', "Extra data"),
        ('{"a": NaN}', "it holds NaN"),
        ("[1, -Infinity]", "it holds -Infinity"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the field 'c' twice"),
        ("[" * 100_000, "too deeply"),
        ('{"a": ' + "9" * 5_000 + "}", "no JSON"),
        ('{"a": "tab\there"}', "Invalid control character"),
        ("{'a': 1}", "property name"),
    ],
)
def test_a_line_that_is_no_json_says_why(line: str, said: str) -> None:
    first, bad, last = lines_of(f'{{"a": 0}}\n{line}\n{{"a": 3}}\n')
    assert (first.value, last.value) == ({"a": 0}, {"a": 3}), "the others are read"
    assert bad.number == 2
    assert bad.value is None
    assert bad.wrong is not None
    assert said in bad.wrong
    assert len(bad.wrong) < 200


def test_numbers_that_are_not_finite_where_they_are_allowed() -> None:
    (line,) = lines_of('{"loss": Infinity}', finite=False)
    assert line.value == {"loss": float("inf")}


def test_a_line_longer_than_any(monkeypatch: pytest.MonkeyPatch) -> None:
    assert next(lines_of('"' + "x" * 2_000_000 + '"')).wrong is None
    monkeypatch.setattr(lines, "LONGEST", 10)
    assert "12 characters; 10 is the most" in str(next(lines_of('"1234567890"')).wrong)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{}".encode("utf-16"), "UTF-16; save it as UTF-8"),
        ("{}".encode("utf-32"), "UTF-32; save it as UTF-8"),
        ('{"a": "é"}'.encode("latin-1"), "no UTF-8 at byte 7"),
        ('{"a": "é'.encode()[:-1], "cut short at byte 8"),
    ],
)
def test_a_file_that_is_no_utf8_says_what_it_is(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(NotTextError, match=said):
        read_lines(tmp_path / "f")
