"""The photographs of `okedit-photos`: which they are, and the one file they lie in.

`assets/photos.json` names each by its path in GroceryStoreDataset, with the SHA-256 of the original
file: this decides what the data set is. The pack, `okedit-photos.zip`, has them at 224 pixels; it
is built by `photos_build.py`. It lies beside the list where it ships with the package, else in the
user's cache. This module knows nothing about questions.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from balancedit.errors import DataError
from balancedit.files.cache import cache_dir
from balancedit.files.durable import digest

PACK = "okedit-photos.zip"
INDEX = "index.json"  # in the pack: format, selection, and the SHA-256 of every picture in it
FORMAT = 1
SIDE = 224  # pixels
SELECTION = "photos.json"

_BUILD = (
    "fetch them with `balancedit data fetch grocery` and pack them with "
    "`python -m balancedit.data.photos_build data/grocery`"
)


@dataclass(frozen=True)
class PackedPhoto:
    """A photograph of the pack, by its path in GroceryStoreDataset."""

    name: str

    def open(self) -> Image.Image:
        """The picture, RGB, 224 pixels wide and high. Raises `DataError`."""
        return read(self.name)

    def describe(self) -> dict[str, Any]:
        """The path; what lies there is in the digest's source."""
        return {"photo": self.name}


@lru_cache(maxsize=1)
def _selection() -> tuple[dict[str, str], str]:
    data = (files("balancedit.data") / "assets" / SELECTION).read_bytes()
    return json.loads(data)["pictures"], digest(data)


def selected() -> dict[str, str]:
    """Path -> SHA-256 of the original file, of every photograph of the data set."""
    return _selection()[0]


def selection_sha256() -> str:
    """SHA-256 over the list of photographs and their originals' hashes."""
    return _selection()[1]


def shipped_at() -> Path:
    """Where the pack lies when it ships with the package."""
    return Path(str(files("balancedit.data") / "assets" / PACK))


def built_at() -> Path:
    """Where a pack that the user built lies."""
    return cache_dir() / PACK


def read(name: str) -> Image.Image:
    """A photograph, RGB. Raises `DataError` where the pack is missing or of other photographs, or
    the picture is damaged."""
    path = _path()
    pack, index = _pack(path)
    try:
        data = pack.read(name)
    except (KeyError, zipfile.BadZipFile):
        data = b""  # told below, with the picture's name
    if digest(data) != index.get(name):
        raise DataError(f"the photograph '{name}' in '{path}' is missing or damaged; {_BUILD}")
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def require() -> None:
    """Check that the pack is there and of these photographs. Raises `DataError`."""
    _pack(_path())


def _path() -> Path:
    for path in (shipped_at(), built_at()):
        if path.is_file():
            return path
    raise DataError(f"the photographs of okedit-photos are not here; {_BUILD}")


def _pack(path: Path) -> tuple[zipfile.ZipFile, dict[str, str]]:
    found = path.stat()
    return _read_pack(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1)
def _read_pack(path: Path, changed: int, size: int) -> tuple[zipfile.ZipFile, dict[str, str]]:
    """The pack, in memory, and its index; read once for each state of the file."""
    try:
        pack = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
        index = json.loads(pack.read(INDEX))
        if index["format"] != FORMAT:
            raise ValueError(f"its format is {index['format']!r}, not {FORMAT}")
        if index["selection"] != selection_sha256():
            raise ValueError("it was built for another list of photographs")
        return pack, dict(index["pictures"])
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}' is no pack of okedit-photos ({error}); {_BUILD}") from error
