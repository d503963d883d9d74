"""A person's marks on the edits of a data set: `marks.json` in its directory.

`{"format": 1, "marks": {PART: {ID: {"mark": "keep" | "drop", "note": TEXT}}}}`, as the page of
`balancedit data review` exports it.
"""

from __future__ import annotations

from pathlib import Path

from balancedit.data import reading
from balancedit.errors import DataError

FILE = "marks.json"
FORMAT = 1
MARKS = ("keep", "drop")


def dropped(directory: Path, part: str) -> frozenset[str]:
    """The ids of a part's edits that are marked to be left out. Raises as `read`."""
    held = read(directory).get(part, {})
    return frozenset(name for name, entry in held.items() if entry["mark"] == "drop")


def read(directory: Path) -> dict[str, dict[str, dict[str, str]]]:
    """The marks in a directory: part -> id -> mark and note; none where there is no file. Raises
    `DataError` for a file that is no such list of marks."""
    path = directory / FILE
    if not path.exists():
        return {}
    value, _ = reading.read_json(path)
    try:
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']!r}, not {FORMAT}")
        held: dict[str, dict[str, dict[str, str]]] = value["marks"]
        unknown = {entry["mark"] for part in held.values() for entry in part.values()} - {*MARKS}
        if unknown:
            raise ValueError(f"'{min(unknown)}' is no mark; known: {', '.join(MARKS)}")
        return held
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"'{path}' holds no marks ({error}); export them again from the review page, or remove "
            "the file"
        ) from error
