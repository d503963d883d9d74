"""A benchmark's results on disk: a header that says what was run, and one JSON line a result.

A line counts when it is whole, so a run that was killed loses the line it was writing and nothing
else. Results of another data set or other settings are refused, never mixed in. Several processes
may write to one directory, each with methods of its own; of two lines on the same result the first
counts. The header lists the runs, that is the processes that wrote lines, with the code, the
settings and the machine of each, and a line names its run by the place in that list. Directories of
before there were such lists are read and gone on with: their older lines name no run.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from balancedit.errors import ResultsError
from balancedit.files import lines
from balancedit.files.compact import write_lines
from balancedit.files.regular import check_regular, opened, read_whole

HEADER, ROWS, SUMMARY = "run.json", "rows.jsonl", "summary.json"
RUNS, RUN = "runs", "run"  # the header's list of runs, and what a line calls its place there
LOCK = ".lock"
RESULT = ("method", "held", "sample")  # what names a result


class Journal:
    """The results directory of one run.

    identity: what makes two runs the same (model, data, protocol …), plain JSON types. methods:
    settings by method; a later run may bring more methods, but not other settings of the same.
    formerly: values of `identity` by which earlier versions called the same.
    about: what may differ from run to run (code, machine, time …). The first run's is kept, and
    that of each run with the first line it adds; where there is none and no method, lines name no
    run. Raises `ResultsError` where the directory holds another run or cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        identity: dict[str, Any],
        about: dict[str, Any],
        methods: dict[str, dict[str, Any]] | None = None,
        *,
        formerly: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self._read = 0  # bytes of the results that `news` has given
        methods = json.loads(json.dumps(methods or {}))
        self._about = about | {"methods": methods} if about or methods else None
        self._run: int | None = None  # this process's place in the header's list, once it has one
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = lock_of(directory)
            with self._lock:
                self._enter(identity, methods, about, formerly or {})
                _drop_partial_line(directory / ROWS)
        except (OSError, ValueError) as error:
            raise ResultsError(
                f"the results in '{directory}' cannot be used ({error}); choose another directory "
                "with --out"
            ) from error

    def _enter(
        self,
        identity: dict[str, Any],
        methods: dict[str, Any],
        about: dict[str, Any],
        formerly: Mapping[str, Any],
    ) -> None:
        """Write the header, or check it and add this run's methods."""
        header = self.directory / HEADER
        run = {"identity": identity, "methods": {}, "about": about}
        if header.exists():
            run = _header(header)
            kept = run["identity"]
            same = {k: identity[k] for k, v in formerly.items() if kept.get(k) == v}
            _check_same(self.directory, kept | same, identity)
        known = run.get("methods", {})
        _check_same(self.directory, {m: known.get(m, methods[m]) for m in methods}, methods)
        if not header.exists() or methods.keys() - known.keys():
            run["methods"] = known | methods
            write_lines(header, run)

    def rows(self) -> list[dict[str, Any]]:
        """Every result so far, in the order they came."""
        return list(read_rows(self.directory))

    def news(self) -> list[dict[str, Any]]:
        """Results that came since the last call, of this process and of others; at first all."""
        path = self.directory / ROWS
        if not path.exists():
            return []
        try:
            with opened(path) as file:
                file.seek(self._read)
                data = file.read()
        except OSError as error:
            raise ResultsError(f"cannot read '{path}': {error.strerror or error}") from error
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return list(_rows(path, whole))

    def summarise(self, summary: dict[str, Any]) -> None:
        """Put a summary beside the results, in place of the one before. Raises `ResultsError`."""
        path = self.directory / SUMMARY
        try:
            write_lines(path, summary)
        except OSError as error:
            raise ResultsError(f"cannot write '{path}': {error}") from error

    def append(self, row: dict[str, Any]) -> None:
        """Add one result; it is on the disk when this returns. Raises `ResultsError`."""
        try:
            with self._lock:
                if self._about is not None and self._run is None:
                    self._run = self._listed(self._about)
                named = row if self._run is None else row | {RUN: self._run}
                with opened(self.directory / ROWS, write=True, create=True) as file:
                    file.seek(0, os.SEEK_END)
                    file.write(json.dumps(named).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
        except (OSError, ValueError) as error:
            raise ResultsError(f"cannot add to '{self.directory / ROWS}': {error}") from error

    def _listed(self, run: dict[str, Any]) -> int:
        """Put a run into the header's list; its place there. A run that adds no line has none."""
        path = self.directory / HEADER
        header = _header(path)
        runs = [*header.get(RUNS, []), run]
        write_lines(path, header | {RUNS: runs})
        return len(runs) - 1


def read_header(directory: Path) -> dict[str, Any]:
    """The header of a results directory. Raises `ResultsError` where there is none."""
    try:
        return _header(directory / HEADER)
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"'{directory}' holds no benchmark results ({error}); make some with "
            "`balancedit bench run`"
        ) from error


def read_rows(directory: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a results directory, the first on each result."""
    path, seen = directory / ROWS, set()
    if path.exists():
        try:
            data = read_whole(path)
        except OSError as error:
            raise ResultsError(f"cannot read '{path}': {error.strerror or error}") from error
        for row in _rows(path, data[: data.rfind(b"\n") + 1]):
            result = tuple(row.get(name) for name in RESULT)
            if None in result or result not in seen:
                seen.add(result)
                yield row


def read_results(directory: Path, *, scored: bool = True) -> Iterator[dict[str, Any]]:
    """The whole lines of a benchmark's results: each names a result and, where `scored`, has scores
    or says why it failed. Raises `ResultsError`."""
    runs = 0
    for row in read_rows(directory):
        lacking = [name for name in RESULT if name not in row]
        if scored and "scores" not in row and "failed" not in row:
            lacking.append("scores")
        if lacking:
            raise ResultsError(
                f"a line of '{directory / ROWS}' has no '{lacking[0]}'; take it out, and what it "
                "held is made again"
            )
        if row.get(RUN, -1) >= runs:
            runs = len(read_header(directory).get(RUNS, []))
            if row.get(RUN, -1) >= runs:
                raise ResultsError(
                    f"a line of '{directory / ROWS}' is of run {row[RUN]}, which {HEADER} does not "
                    "list; take it out, and what it held is made again"
                )
        yield row


def lock_of(directory: Path) -> FileLock:
    """What a writer of results holds meanwhile. Raises OSError where a link or anything else is in
    its file's place, which would be written to."""
    check_regular(directory / LOCK, missing_ok=True)
    return FileLock(directory / LOCK)


def _header(path: Path) -> dict[str, Any]:
    """Raises OSError, and ValueError for a file that is no header."""
    try:
        found = lines.parsed(lines.text_of(read_whole(path)), finite=False)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    fits = isinstance(found, dict) and isinstance(found.get("identity"), dict)
    if not fits or not all(fit(found[name]) for name, fit in _HEADER.items() if name in found):
        raise ValueError(f"{HEADER} is of another form")
    return dict(found)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and 0 <= value < math.inf


def _are_fractions(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_number(x) and 0 <= x <= 1 for x in value.values())


def _are_objects(values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


#: What the parts of a header and of a line are, where they are there.
_HEADER: dict[str, Callable[[Any], bool]] = {
    "about": lambda value: isinstance(value, dict),
    "methods": lambda value: isinstance(value, dict) and _are_objects(value.values()),
    RUNS: lambda value: isinstance(value, list) and _are_objects(value),
}
_LINE: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("method", "sample", "category", "kind", "failed"), _is_text),
    **dict.fromkeys(("held", RUN), _is_count),
    **dict.fromkeys(("edit_seconds", "probe_seconds"), _is_seconds),
    "scores": _are_fractions,
    "outputs": lambda value: isinstance(value, list),
}


def _wrong(row: Any) -> str | None:
    """Why a line is none of ours; None where it is one."""
    if not isinstance(row, dict):
        return "is no JSON object"
    wrong = [name for name, fit in _LINE.items() if name in row and not fit(row[name])]
    return f"has another '{wrong[0]}' than results have" if wrong else None


def _rows(path: Path, whole: bytes) -> Iterator[dict[str, Any]]:
    """The results in whole lines of a file. Raises `ResultsError`, naming a line that is none."""
    try:
        # A loss may be no number, and is written as it is.
        for line in lines.lines_of(lines.text_of(whole), finite=False):
            wrong = line.wrong or _wrong(line.value)
            if wrong is not None:
                raise ResultsError(
                    f"line {line.number} of '{path}' {wrong}; take the line out, and what it held "
                    "is made again"
                )
            yield line.value
    except lines.NotTextError as error:
        raise ResultsError(f"'{path}' {error}") from error


def _check_same(directory: Path, kept: dict[str, Any], wanted: dict[str, Any]) -> None:
    wanted = json.loads(json.dumps(wanted))
    differing = [k for k in sorted({*kept, *wanted}) if kept.get(k) != wanted.get(k)]
    if differing:
        name = differing[0]
        raise ResultsError(
            f"'{directory}' holds results of another run: its {name} is {kept.get(name)!r}, not "
            f"{wanted.get(name)!r}; choose another directory with --out"
        )


def _drop_partial_line(path: Path) -> None:
    """Cut off what a killed process left behind the last line's end."""
    if not path.exists():
        return
    with opened(path, write=True) as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
