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
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from balancedit.errors import ResultsError
from balancedit.files import lines
from balancedit.files.compact import write_lines

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
            self._lock = FileLock(directory / LOCK)
            with self._lock:
                self._enter(identity, methods, about, formerly or {})
                _drop_partial_line(directory / ROWS)
        except (OSError, ValueError, KeyError) as error:
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
            run = json.loads(header.read_text())
            kept = run["identity"]
            same = {k: identity[k] for k, v in formerly.items() if kept.get(k) == v}
            _check_same(self.directory, kept | same, identity)
        known = run["methods"]
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
        with path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
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
                with (self.directory / ROWS).open("a") as file:
                    file.write(json.dumps(named) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
        except (OSError, ValueError) as error:
            raise ResultsError(f"cannot add to '{self.directory / ROWS}': {error}") from error

    def _listed(self, run: dict[str, Any]) -> int:
        """Put a run into the header's list; its place there. A run that adds no line has none."""
        path = self.directory / HEADER
        header = json.loads(path.read_text())
        runs = [*header.get(RUNS, []), run]
        write_lines(path, header | {RUNS: runs})
        return len(runs) - 1


def read_header(directory: Path) -> dict[str, Any]:
    """The header of a results directory. Raises `ResultsError` where there is none."""
    try:
        header: dict[str, Any] = json.loads((directory / HEADER).read_text())
        return header
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"'{directory}' holds no benchmark results ({error}); make some with "
            "`balancedit bench run`"
        ) from error


def read_rows(directory: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a results directory, the first on each result."""
    path, seen = directory / ROWS, set()
    if path.exists():
        data = path.read_bytes()
        for row in _rows(path, data[: data.rfind(b"\n") + 1]):
            result = tuple(row.get(name) for name in RESULT)
            if None in result or result not in seen:
                seen.add(result)
                yield row


def _rows(path: Path, whole: bytes) -> Iterator[dict[str, Any]]:
    """The results in whole lines of a file. Raises `ResultsError`, naming a line that is none."""
    try:
        # A loss may be no number, and is written as it is.
        for line in lines.lines_of(lines.text_of(whole), finite=False):
            wrong = line.wrong or (None if isinstance(line.value, dict) else "is no JSON object")
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
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
