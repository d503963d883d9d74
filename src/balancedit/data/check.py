"""Looking a data set over: everything that would spoil a figure, each finding with its
place."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from balancedit.data import layout
from balancedit.data.catalogue import DataSet
from balancedit.data.external import Format, open_directory
from balancedit.data.problems import Problem
from balancedit.data.reading import Contents
from balancedit.data.sample import EditSample, FileImage
from balancedit.errors import DataError
from balancedit.files.names import exists, is_directory, is_file
from balancedit.inputs.answers import question_form, same_answer

TRAIN = "train"  # parts whose name holds this must not share edits with the others


@dataclass(frozen=True)
class Checked:
    """One part: what could be read of it, and what was found."""

    contents: Contents
    problems: list[Problem]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Findings by kind, most frequent first."""
        return dict(Counter(p.kind for p in self.problems).most_common())

    def to_dict(self) -> dict[str, Any]:
        """The part as plain JSON types."""
        return {
            "usable": len(self.contents.samples),
            "unusable": len({p.where for p in self.problems if p.fatal}),
            "files": self.contents.hashes,
            "counts": self.counts,
            "problems": [p.to_dict() for p in self.problems],
        }


def check(name: str | None, path: Path) -> tuple[Format, dict[str, Checked]]:
    """Every part of a data set on disk; where `path` is one of its files, that part alone.

    name: the format, None to tell it from the files. Raises `DataError` and `InputError` for what
    cannot be read at all.
    """
    directory = path if is_directory(path) else path.parent
    dataset = open_directory(name, directory)
    parts = dataset.format.parts(directory)
    if not is_directory(path):
        if not exists(path):
            raise DataError(f"there is no file or directory '{path}'; check the path")
        parts = {part: file for part, file in parts.items() if file.samefile(path)}
        if not parts:
            raise DataError(
                f"'{path}' is no file of the format {dataset.format.name}: expected "
                f"{dataset.format.layout}"
            )
    checked = {}
    for part in parts:
        problems: list[Problem] = []
        contents = dataset.format.read(directory, part, problems.append)
        problems += _missing_images(contents)
        problems += _duplicates(contents)
        checked[part] = Checked(contents, problems)
    _find_leaks(checked)
    return dataset.format, checked


def check_named(data: DataSet) -> dict[str, Checked]:
    """Every part of a data set that has a name, its pictures opened where they lie on the disk."""
    checked = {}
    for part in data.parts:
        samples = data.read(part)
        hashes = {f"{data.name} {part}": data.digest(part)}
        contents = Contents(samples, [s.id for s in samples], hashes)
        checked[part] = Checked(contents, [*data.damaged(part), *_duplicates(contents)])
    _find_leaks(checked)
    return checked


def _find_leaks(checked: Mapping[str, Checked]) -> None:
    """Add what evaluation parts share with train parts to their findings."""
    trained = {part: held for part, held in checked.items() if TRAIN in part}
    for part, held in checked.items():
        if part not in trained:
            for other in trained.values():
                held.problems.extend(_leaks(held.contents, other.contents))


def table(parts: Mapping[str, Checked]) -> Any:
    """The counts of each part, a rich table."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="dim")
    shown.add_column("")
    for part in parts:
        shown.add_column(part, justify="right", no_wrap=True)
    columns = list(parts.values())
    usable = [len(c.contents.samples) for c in columns]
    shown.add_row("usable edits", *map(str, usable))
    kinds = dict.fromkeys(kind for c in columns for kind in c.counts)
    for kind in kinds:
        shown.add_row(f"  {kind}", *(str(c.counts.get(kind, 0)) for c in columns))
    return shown


def _missing_images(contents: Contents) -> Iterator[Problem]:
    """One finding a record and picture that is not there."""
    there: dict[FileImage, bool] = {}
    for sample, where in zip(contents.samples, contents.places, strict=True):
        for image in dict.fromkeys(layout.files(sample)):
            if image not in there:
                there[image] = is_file(image.root / image.name)
            if not there[image]:
                yield Problem("missing-image", where, f"names {image.name}, which is not there")


def _duplicates(contents: Contents) -> Iterator[Problem]:
    """Records that ask the same about the same picture as an earlier one."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for sample, where in zip(contents.samples, contents.places, strict=True):
        earlier, target = first.setdefault(_asked(sample), (where, sample.target))
        if earlier == where:
            continue
        same = same_answer(target, sample.target)
        how = "with the same target" if same else f"with the target '{target}'"
        yield Problem("duplicate", where, f"asks the same of the same picture as {earlier}, {how}")


def _leaks(contents: Contents, train: Contents) -> Iterator[Problem]:
    """Records of an evaluation part whose question and picture are in a train part too."""
    known = {_asked(s): w for s, w in zip(train.samples, train.places, strict=True)}
    for sample, where in zip(contents.samples, contents.places, strict=True):
        if place := known.get(_asked(sample)):
            yield Problem("leak", where, f"is trained on too, in {place}")


def _asked(sample: EditSample) -> tuple[str, str]:
    return json.dumps(sample.image.describe(), sort_keys=True), question_form(sample.question)
