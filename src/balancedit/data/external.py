"""Data sets that lie in a directory of the user's: which formats there are, recognising one by its
files, and reading it as any other data set.

A directory may hold `marks.json`, which `balancedit data review` makes: edits marked "drop" there
are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from balancedit.data import imagefolder, jsonl, layout, marks, mmedit, okedit, sample, vlkeb
from balancedit.data.problems import Report, stop
from balancedit.data.reading import Contents
from balancedit.data.sample import EditSample
from balancedit.errors import DataError, InputError, nearest_names
from balancedit.files.names import expanded, is_directory


@dataclass(frozen=True)
class Format:
    """A way of keeping edits in a directory.

    parts: the parts that are there and the file of each, in the order a user would want them.
    read: a part's contents, findings told to a report; pictures are not opened.
    layout: what is expected, for messages.
    """

    name: str
    about: str
    layout: str
    parts: Callable[[Path], dict[str, Path]]
    read: Callable[[Path, str, Report], Contents]


#: By name, in the order in which a directory is tried.
FORMATS: dict[str, Format] = {
    module.NAME: Format(module.NAME, module.ABOUT, module.LAYOUT, module.parts, module.read)
    for module in (okedit, mmedit, vlkeb, imagefolder, jsonl)
}


@dataclass(frozen=True)
class External:
    """A data set in a directory. The files of a part are read once."""

    format: Format
    directory: Path
    report: Report = stop
    _kept: dict[str, Contents] = field(default_factory=dict, repr=False, compare=False)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are there."""
        return tuple(self.format.parts(self.directory))

    def contents(self, part: str) -> Contents:
        """What the files of a part hold, without the edits that were marked to drop.

        Raises `InputError` for a part that is not there, `DataError` for what cannot be read.
        """
        if part not in self.parts:
            raise InputError(
                f"'{self.directory}' has no part '{part}'{nearest_names(part, self.parts)}"
            )
        if part not in self._kept:
            contents = self.format.read(self.directory, part, self.report)
            self._kept[part] = _without(contents, marks.dropped(self.directory, part))
        return self._kept[part]

    def read(self, part: str) -> list[EditSample]:
        """The edits of a part, whether their pictures are there or not. Raises as `contents`."""
        return self.contents(part).samples

    def load(self, part: str) -> list[EditSample]:
        """The edits of a part. Raises as `contents`, and `DataError` where there are none or the
        folders of pictures are missing."""
        samples = self.read(part)
        if not samples:
            raise DataError(f"the part '{part}' of '{self.directory}' holds no edit that is usable")
        layout.require_folders(samples, self.format.name, self.format.layout)
        return samples

    def digest(self, part: str) -> str:
        """SHA-256 over the records and the hashes of the files they came from; of the pictures,
        their names only. Raises as `contents`."""
        contents = self.contents(part)
        return sample.digest(contents.samples, source=json.dumps(contents.hashes, sort_keys=True))


def _without(contents: Contents, dropped: frozenset[str]) -> Contents:
    kept = [i for i, s in enumerate(contents.samples) if s.id not in dropped]
    return replace(
        contents,
        samples=[contents.samples[i] for i in kept],
        places=[contents.places[i] for i in kept],
    )


def open_directory(name: str | None, directory: Path, report: Report = stop) -> External:
    """The data set in a directory, in the format called `name` or, where that is None, in the first
    whose files are there.

    Raises `InputError` for an unknown format, `DataError` for a directory without its files.
    """
    directory = expanded(directory)
    if name is not None and name not in FORMATS:
        raise InputError(f"there is no data format '{name}'{nearest_names(name, FORMATS)}")
    if not is_directory(directory):
        raise DataError(f"there is no directory '{directory}'; check the path")
    tried = FORMATS.values() if name is None else [FORMATS[name]]
    for candidate in tried:
        if candidate.parts(directory):
            return External(candidate, directory, report)
    expected = "; or ".join(f"{f.name}: {f.layout}" for f in tried)
    raise DataError(
        f"'{directory}' holds no data set. Expected {expected}. Found: {layout.contents(directory)}"
    )
