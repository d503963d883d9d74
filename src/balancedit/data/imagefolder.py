"""Hugging Face `datasets`' image-folder layout: `metadata.jsonl` or `metadata.csv` beside pictures.

A part is a folder with such a file: the directory itself ("all") or a split in it ("train/",
"test/" …). Columns are the fields of our own format, with the picture as `file_name` and the other
pictures as `image_rephrases_file_names`; in CSV, a cell that stands for a list is JSON.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from balancedit.data import jsonl, reading
from balancedit.data.problems import Problem, Report
from balancedit.data.reading import Contents, Fields
from balancedit.data.sample import EditSample
from balancedit.files.names import is_directory, is_file

NAME = "imagefolder"
ABOUT = "your own facts: the image-folder layout of Hugging Face datasets"
LAYOUT = "metadata.jsonl or metadata.csv beside the pictures, in the directory or in its splits"

_FILES = ("metadata.jsonl", "metadata.csv")
_RENAMED = {"file_name": "image", "image_rephrases_file_names": "image_rephrases"}
_LISTS = ("rephrases", "image_rephrases", "locality", "portability")


def parts(directory: Path) -> dict[str, Path]:
    """The metadata file of the directory itself, or of each folder in it; evaluation first."""
    if path := _metadata(directory):
        return {"all": path}
    inside = directory.glob("*") if is_directory(directory) else ()
    folders = sorted(path for path in inside if is_directory(path))
    files = {folder.name: path for folder in folders if (path := _metadata(folder))}
    return dict(sorted(files.items(), key=lambda item: item[0] == "train"))


def read(directory: Path, part: str, report: Report) -> Contents:
    """The samples of a part; pictures are not looked at. Raises `DataError`."""
    path = parts(directory)[part]
    if path.suffix == ".jsonl":
        values, sha256 = reading.read_lines(path, report)
    else:
        text, sha256 = reading.read_text(path)
        values = list(_csv_rows(path, text, report))

    def make(fields: Fields) -> EditSample:
        return jsonl.sample(fields, path.parent)

    renamed = ((where, _rename(value)) for where, value in values)
    return reading.build(renamed, make, report, {f"{part}/{path.name}": sha256})


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in _FILES if is_file(folder / name)), None)


def _rename(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {_RENAMED.get(name, name): held for name, held in value.items()}


def _csv_rows(path: Path, text: str, report: Report) -> Iterator[tuple[str, Any]]:
    """The rows with their lines; empty cells are absent fields."""
    rows = csv.DictReader(io.StringIO(text, newline=""))  # any line ending, inside a cell too
    try:
        for row in rows:
            where = f"{path.name} line {rows.line_num}"
            held = _cells(row, where, report)
            if held is not None:
                yield where, held
    except csv.Error as error:  # such as a cell that is too long; nothing behind it can be told
        where = f"{path.name} line {rows.line_num}"
        report(Problem("wrong-type", where, f"is no CSV ({error})", fatal=True))


def _cells(row: dict[str | None, Any], where: str, report: Report) -> dict[str, Any] | None:
    """The fields of a row that are not empty; None, and a finding, for one that cannot be used."""
    if None in row:
        report(Problem("wrong-type", where, "has more cells than columns", fatal=True))
        return None
    held: dict[str, Any] = {str(name): cell for name, cell in row.items() if cell}
    for name, cell in held.items():
        if _RENAMED.get(name, name) in _LISTS:
            try:
                held[name] = json.loads(cell)
            except (ValueError, RecursionError) as error:
                what = f"has no JSON list as '{name}' ({error})"
                report(Problem("wrong-type", where, what, fatal=True))
                return None
    return held
