"""Everything that a build asked and was answered, so that nothing is paid for twice.

One line a reply, on the disk before anything else happens with it; what is done follows from the
lines alone, and so does how often a step was tried.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from balancedit.errors import DataError, ResultsError
from balancedit.files.durable import write_durably
from balancedit.files.journal import Journal
from balancedit.files.names import is_file

DIRECTORY = "build"
Key = tuple[str, str, int]  # fact, step, which of its pictures (0 for text)


class Ledger:
    """The replies of one build, in the folder `build` of its directory; for several threads.

    identity: what makes two builds the same. Raises `DataError` where the directory holds another
    build or cannot be written.
    """

    def __init__(self, directory: Path, identity: dict[str, Any]) -> None:
        self.directory = directory
        try:
            self._journal = Journal(directory / DIRECTORY, identity, {})
            rows = self._journal.rows()
        except ResultsError as error:
            raise DataError(str(error).replace("results of another run", "another build")) from None
        self._lock = threading.Lock()
        self._accepted: dict[Key, Any] = {}
        self._rejected: dict[Key, list[str]] = defaultdict(list)
        self.tokens_in = self.tokens_out = 0
        for row in rows:
            try:
                self._count(row)
            except (KeyError, TypeError) as error:
                raise DataError(
                    f"'{directory / DIRECTORY}' holds a line that is no reply ({error}); take it "
                    "out, and it is asked for again"
                ) from error

    def accepted(self, key: Key) -> Any:
        """What was made of an accepted reply; None where there is none yet."""
        return self._accepted.get(key)

    def picture(self, key: Key) -> str | None:
        """The file of an accepted picture, if it is still there."""
        value = self.accepted(key)
        name = value.get("file") if isinstance(value, dict) else None
        if not isinstance(name, str) or not is_file(self.directory / name):
            return None
        return name

    def rejections(self, key: Key) -> list[str]:
        """Why replies were rejected, in their order."""
        return self._rejected[key]

    def rejected(self) -> dict[str, int]:
        """How many replies of each step were rejected."""
        counts: Counter[str] = Counter()
        for (_, step, _), reasons in self._rejected.items():
            counts[step] += len(reasons)
        return {step: count for step, count in counts.most_common() if count}

    def keep(self, name: str, data: bytes) -> None:
        """Write a file of the build's directory, whole or not at all. Raises `DataError`, and then
        the build must end."""
        path = self.directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, data)
        except OSError as error:
            raise DataError(
                f"the build stops, for '{path}' cannot be written ({error.strerror or error}); "
                "free some disk and start again: it goes on here"
            ) from error

    def add(self, key: Key, row: dict[str, Any]) -> None:
        """Keep a reply: `row` has `value` (accepted) or `rejected` (why). Raises `DataError` where
        it cannot be written, and then the build must end."""
        fact, step, index = key
        row = {"fact": fact, "step": step, "index": index, **row}
        with self._lock:
            try:
                self._journal.append(row)
            except ResultsError as error:
                raise DataError(
                    f"the build stops, for its replies cannot be kept ({error}); free some disk "
                    "and start again: it goes on here"
                ) from error
            self._count(row)

    def _count(self, row: dict[str, Any]) -> None:
        key = (row["fact"], row["step"], row["index"])
        if "value" in row:
            self._accepted[key] = row["value"]
        else:
            self._rejected[key].append(row["rejected"])
        self.tokens_in += row.get("tokens_in") or 0
        self.tokens_out += row.get("tokens_out") or 0
