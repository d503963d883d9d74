"""The data sets that have a name, and those that lie in a directory. Importing this reads none of
them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from balancedit.errors import InputError, nearest_names
from balancedit.files.names import is_directory

if TYPE_CHECKING:
    from balancedit.data.problems import Problem, Report
    from balancedit.data.sample import EditSample


@dataclass(frozen=True)
class DataSet:
    """A data set of edits. `load`, `read` and `digest` take one of `parts`; they raise `InputError`
    and `DataError`. `read` is `load` without a look whether the pictures are there; `damaged` tells
    which pictures that should lie on the disk cannot be opened."""

    name: str
    about: str
    parts: tuple[str, ...]  # those that hold edits
    load: Callable[[str], list[EditSample]]
    read: Callable[[str], list[EditSample]]
    digest: Callable[[str], str]
    damaged: Callable[[str], list[Problem]] = lambda _: []


def find(name: str, report: Report | None = None) -> DataSet:
    """The data set called `name`: one of `DATA_SETS`, or ``FORMAT=DIRECTORY`` for one on disk, or
    the directory alone where its files tell the format.

    report: told of what is wrong with the records of a data set on disk; by default the first that
    cannot be used ends the reading. Raises `InputError`, which names the nearest, and `DataError`.
    """
    if name in DATA_SETS:
        return DATA_SETS[name]
    form, equals, directory = name.partition("=")
    if equals:
        return _on_disk(form, Path(directory), report)
    if "/" in name or is_directory(Path(name)):
        return _on_disk(None, Path(name), report)
    raise InputError(
        f"there is no data set '{name}'{nearest_names(name, DATA_SETS)}; give a directory, or "
        "FORMAT=DIRECTORY, for one on disk"
    )


def _on_disk(form: str | None, directory: Path, report: Report | None) -> DataSet:
    from balancedit.data.external import open_directory
    from balancedit.data.problems import stop

    dataset = open_directory(form, directory, report or stop)
    return DataSet(
        name=dataset.format.name,
        about=dataset.format.about,
        parts=dataset.parts,
        load=dataset.load,
        read=dataset.read,
        digest=dataset.digest,
    )


def _load_pocket(part: str) -> list[EditSample]:
    from balancedit.data import pocket

    return pocket.load(part)


def _digest_pocket(part: str) -> str:
    from balancedit.data import pocket

    return pocket.digest(part)


def _load_photos(part: str) -> list[EditSample]:
    from balancedit.data import photo_pack, photos

    photo_pack.require()
    return photos.load(part)


def _read_photos(part: str) -> list[EditSample]:
    from balancedit.data import photos

    return photos.load(part)


def _digest_photos(part: str) -> str:
    from balancedit.data import photos

    return photos.digest(part)


def _damaged_photos(part: str) -> list[Problem]:
    from balancedit.data import photos

    return photos.damaged(part)


DATA_SETS: dict[str, DataSet] = {
    "okedit-pocket": DataSet(
        name="okedit-pocket",
        about="what the default model knows about drawn things; comes with the package",
        parts=("edit-eval", "edit-train"),
        load=_load_pocket,
        read=_load_pocket,
        digest=_digest_pocket,
    ),
    "okedit-photos": DataSet(
        name="okedit-photos",
        about="what photographs of groceries show: products, kinds and groups",
        parts=("edit-eval", "edit-train", "edit-eval-plain", "edit-train-plain"),
        load=_load_photos,
        read=_read_photos,
        digest=_digest_photos,
        damaged=_damaged_photos,
    ),
}
