"""The data sets that have a name. Importing this reads none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from balancedit.errors import InputError, nearest_names

if TYPE_CHECKING:
    from balancedit.data.sample import EditSample


@dataclass(frozen=True)
class DataSet:
    """A data set of edits. `load` and `digest` take one of `parts`; they raise `InputError`."""

    name: str
    about: str
    parts: tuple[str, ...]  # those that hold edits
    load: Callable[[str], list[EditSample]]
    digest: Callable[[str], str]


def find(name: str) -> DataSet:
    """The data set called `name`. Raises `InputError`, which names the nearest."""
    if name not in DATA_SETS:
        raise InputError(f"there is no data set '{name}'{nearest_names(name, DATA_SETS)}")
    return DATA_SETS[name]


def _load_pocket(part: str) -> list[EditSample]:
    from balancedit.data import pocket

    return pocket.load(part)


def _digest_pocket(part: str) -> str:
    from balancedit.data import pocket

    return pocket.digest(part)


DATA_SETS: dict[str, DataSet] = {
    "okedit-pocket": DataSet(
        name="okedit-pocket",
        about="what the default model knows about drawn things; comes with the package",
        parts=("edit-eval", "edit-train"),
        load=_load_pocket,
        digest=_digest_pocket,
    ),
}
