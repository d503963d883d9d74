"""Reading the files of data sets: JSON that says at which byte it breaks, and records whose fields
are checked as they are taken out.

This module knows nothing about any one data set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from balancedit.data.problems import Problem, ProblemKind, Report
from balancedit.data.sample import EditSample, FileImage
from balancedit.errors import DataError
from balancedit.files import lines
from balancedit.files.regular import read_whole

_NAMES = {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "a boolean"}


@dataclass(frozen=True)
class Contents:
    """What was read: the usable samples, where each stands, and the hash of the files they are
    from (SHA-256, in hexadecimal, by file name)."""

    samples: list[EditSample]
    places: list[str]
    hashes: dict[str, str] = field(default_factory=dict)


class Unusable(Exception):
    """A record that cannot be used; carries the finding."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


def read_text(path: Path) -> tuple[str, str]:
    """A file's text and its SHA-256. Raises `DataError`, with the byte where it is not UTF-8."""
    try:
        data = read_whole(path)
    except OSError as error:
        raise DataError(
            f"'{path}' cannot be read ({error.strerror or error}); check the path"
        ) from error
    try:
        return lines.text_of(data), hashlib.sha256(data).hexdigest()
    except lines.NotTextError as error:
        raise DataError(f"'{path}' {error}") from error


def read_json(path: Path) -> tuple[Any, str]:
    """A JSON file's value and its SHA-256. Raises `DataError`, with the byte where it breaks."""
    text, sha256 = read_text(path)
    try:
        return json.loads(text), sha256
    except json.JSONDecodeError as error:
        at = len(text[: error.pos].encode())
        size = len(text.encode())
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        how = f"is cut short at byte {size}" if cut else f"is damaged at byte {at} ({error.msg})"
        raise DataError(f"'{path}' {how}, of {size} bytes; fetch or save it again") from error
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond Python's limits
        raise DataError(f"'{path}' holds JSON that cannot be read ({error})") from error


def read_list(path: Path) -> tuple[list[Any], str]:
    """A JSON file that holds a list, and its SHA-256. Raises `DataError`."""
    value, sha256 = read_json(path)
    if not isinstance(value, list):
        raise DataError(f"'{path}' holds {_name(value)}, not a list of records")
    return value, sha256


def read_member(path: Path, name: str) -> tuple[list[Any], dict[str, Any], str]:
    """The list called `name` in a JSON file's object, the object, and the file's SHA-256.

    Raises `DataError`.
    """
    value, sha256 = read_json(path)
    member = value.get(name) if isinstance(value, dict) else None
    if not isinstance(member, list):
        raise DataError(f"'{path}' has no list '{name}'; is it the file it is named after?")
    return member, value, sha256


def read_lines(path: Path, report: Report) -> tuple[list[tuple[str, Any]], str]:
    """The JSON values of a JSON Lines file with the place of each, and the file's SHA-256.

    A line that is no JSON is reported as a fatal finding; empty lines are passed over.
    """
    text, sha256 = read_text(path)
    values = []
    for line in lines.lines_of(text):
        where = f"{path.name} line {line.number}"
        if line.wrong is None:
            values.append((where, line.value))
        else:
            report(Problem("wrong-type", where, line.wrong, fatal=True))
    return values, sha256


def indexed(path: Path, values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """The records of a JSON list with the place of each, counted from 0."""
    for index, value in enumerate(values):
        yield f"{path.name} index {index}", value


def build(
    values: Iterable[tuple[str, Any]],
    make: Callable[[Fields], EditSample],
    report: Report,
    hashes: dict[str, str],
) -> Contents:
    """Samples made of records, see `gather`."""

    def maker(where: str, value: Any) -> Callable[[], EditSample]:
        return lambda: make(Fields(value, where, report))

    return gather(((w, maker(w, v)) for w, v in values), report, hashes)


def gather(
    makers: Iterable[tuple[str, Callable[[], EditSample]]],
    report: Report,
    hashes: dict[str, str],
) -> Contents:
    """Samples from what makes each of them; those that cannot be used are reported. An id that
    occurs twice is usable once."""
    contents = Contents([], [], hashes)
    seen: dict[str, str] = {}
    for where, make in makers:
        try:
            sample = make()
            if sample.id in seen:
                what = f"has the id '{sample.id}' of {seen[sample.id]}"
                raise Unusable(Problem("repeated-id", where, what, fatal=True))
        except Unusable as bad:
            report(bad.problem)
            continue
        seen[sample.id] = where
        contents.samples.append(sample)
        contents.places.append(where)
    return contents


class Fields:
    """One record. The methods take fields out, outer spaces dropped, and raise `Unusable` for what
    is not there or not of the right type; spaces that were dropped are reported."""

    def __init__(self, value: Any, where: str, report: Report) -> None:
        self.where, self._report = where, report
        self.number = where.rpartition(" ")[2]  # the index or line alone
        if not isinstance(value, dict):
            raise self.bad("wrong-type", f"is {_name(value)}, not an object")
        self._value = value

    def bad(self, kind: ProblemKind, what: str) -> Unusable:
        """The exception for a record that cannot be used."""
        return Unusable(Problem(kind, self.where, what, fatal=True))

    def has(self, name: str) -> bool:
        """True if the field is there and not null."""
        return self._value.get(name) is not None

    def value(self, name: str) -> Any:
        """A field as it is."""
        if name not in self._value:
            raise self.bad("missing-field", f"has no field '{name}'")
        return self._value[name]

    def text(self, name: str) -> str:
        """A text that is not empty."""
        text = self._text(name, self.value(name))
        if not text:
            raise self.bad("empty-text", f"has an empty '{name}'")
        return text

    def target(self, name: str) -> str:
        """The answer to teach; empty ones are found under a name of their own."""
        text = self._text(name, self.value(name))
        if not text:
            raise self.bad("empty-target", f"has an empty target ('{name}')")
        return text

    def optional(self, name: str, default: str = "") -> str:
        """A text that may be empty, absent or null."""
        return self._text(name, self._value[name]) if self.has(name) else default

    def image(self, name: str, root: Path) -> FileImage:
        """A picture named relative to the folder `root`, slashes between."""
        return self.file(name, self.text(name), root)

    def file(self, name: str, value: Any, root: Path) -> FileImage:
        """A picture named by `value`, which the field `name` holds."""
        text = self._text(name, value)
        path = PurePosixPath(text)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise self.bad("wrong-type", f"has '{text}' as '{name}', not a file's relative name")
        return FileImage(root, text)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; absent is none, empty ones are dropped."""
        texts = (self._text(name, item) for item in self.list(name))
        return tuple(text for text in texts if text)

    def list(self, name: str) -> list[Any]:
        """A list; absent or null is an empty one."""
        value = self._value.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.bad("wrong-type", f"has {_name(value)} as '{name}', not a list")
        return value

    def whole(self, name: str) -> int:
        """A whole number, such as an id."""
        value = self.value(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.bad("wrong-type", f"has {_name(value)} as '{name}', not a whole number")
        return value

    def children(self, name: str) -> Iterator[Fields]:
        """The objects of a list field."""
        for item in self.list(name):
            if not isinstance(item, dict):
                raise self.bad("wrong-type", f"has {_name(item)} in '{name}', not an object")
            yield Fields(item, self.where, self._report)

    def child(self, name: str) -> Fields:
        """An object field."""
        value = self.value(name)
        if not isinstance(value, dict):
            raise self.bad("wrong-type", f"has {_name(value)} as '{name}', not an object")
        return Fields(value, self.where, self._report)

    def _text(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self.bad("wrong-type", f"has {_name(value)} as '{name}', not a text")
        if value != value.strip():
            what = f"has stray spaces around '{name}' ({value!r})"
            self._report(Problem("stray-space", self.where, what))
        return value.strip()


def _name(value: Any) -> str:
    return _NAMES.get(type(value), f"the number {value}")
