"""JSON Lines, read in one way for every file of that kind: data sets, facts to teach, results.

A line ends at a line feed, with or without a carriage return before it, and nowhere else: U+2028,
U+0085 and their like may stand inside JSON texts. A byte-order mark in front is passed over, and so
are empty lines. What JSON does not know or leaves open is said, not guessed: numbers that are not
finite, and a field that an object has twice.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balancedit.files.durable import digest
from balancedit.files.regular import read_whole

#: Characters of one line at most; a picture as a data URL fits.
LONGEST = 2**28

_OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # begins as UTF-16's does
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class NotTextError(ValueError):
    """A file that is no UTF-8 text; says what it is, behind the file's name."""


@dataclass(frozen=True)
class Line:
    """One line that is not empty. number: from 1; wrong: why it is no JSON, None where it is."""

    number: int
    value: Any
    wrong: str | None = None


def read_lines(path: Path, *, finite: bool = True, pipes: bool = False) -> tuple[list[Line], str]:
    """The lines of a JSON Lines file, and the file's SHA-256 in hexadecimal. finite: whether NaN
    and infinities are wrong. pipes: whether the file may be one. Raises `OSError`,
    `NotTextError`."""
    data = read_whole(path, pipes=pipes)
    return list(lines_of(text_of(data), finite=finite)), digest(data)


def text_of(data: bytes) -> str:
    """A file's text, without a byte-order mark. Raises `NotTextError`."""
    for mark, name in _OTHER_MARKS.items():
        if data.startswith(mark):
            raise NotTextError(f"is {name}; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        cut = error.reason == "unexpected end of data"
        how = f"is cut short at byte {len(data)}" if cut else f"is no UTF-8 at byte {error.start}"
        raise NotTextError(f"{how}; fetch or save it again") from error


def lines_of(text: str, *, finite: bool = True) -> Iterator[Line]:
    """The lines of a text that are not empty."""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t\r")
        if not line:
            continue
        if len(line) > LONGEST:
            wrong = f"has {len(line):,} characters; {LONGEST:,} is the most"
            yield Line(number, None, wrong)
            continue
        try:
            yield Line(number, parsed(line, finite=finite))
        except json.JSONDecodeError as error:
            at = len(line[: error.pos].encode(errors="replace"))
            yield Line(number, None, f"is no JSON: {error.msg} at byte {at} of the line")
        except RecursionError:
            yield Line(number, None, "is no JSON that can be read: it is nested too deeply")
        except ValueError as error:
            yield Line(number, None, f"is no JSON: {error}")


def parsed(text: str, *, finite: bool = True) -> Any:
    """The value of a JSON text. Raises `ValueError`, `RecursionError`."""
    constant = _refuse if finite else None
    return json.loads(text, object_pairs_hook=_object, parse_constant=constant)


def _refuse(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        ((twice, _), *_) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"it has the field '{twice}' twice")
    return made
