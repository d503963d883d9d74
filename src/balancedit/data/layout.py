"""Where a data set's pictures lie under its directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from balancedit.data.sample import EditSample, FileImage, images
from balancedit.errors import DataError
from balancedit.files.names import is_directory


def image_root(directory: Path, folders: Iterable[str]) -> Path:
    """The directory that holds these folders: the data set's own, or `images` in it."""
    inside = directory / "images"
    if any(is_directory(inside / folder) for folder in folders):
        return inside
    return directory


def files(sample: EditSample) -> Iterator[FileImage]:
    """Every picture file that a sample names, with repeats."""
    return (image for image in images(sample) if isinstance(image, FileImage))


def require_folders(samples: Iterable[EditSample], name: str, expected: str) -> None:
    """Check that the folders which the samples' pictures lie in are there.

    Folders, not files: a missing picture is named when it is opened, and by `data check`. Raises
    `DataError`, which says what was expected and what was found.
    """
    wanted = {
        (image.root, PurePosixPath(image.name).parts[0])
        for sample in samples
        for image in files(sample)
        if "/" in image.name
    }
    for root, folder in sorted(wanted):
        if not is_directory(root / folder):
            raise DataError(
                f"the pictures of {name} are not there: no folder '{root / folder}'. Expected: "
                f"{expected}. Found in '{root}': {contents(root)}"
            )


def contents(directory: Path, limit: int = 12) -> str:
    """What a directory holds, folders with a slash, for a message."""
    try:
        names = sorted(p.name + "/" * is_directory(p) for p in directory.iterdir())
    except OSError as error:
        return f"nothing that can be read ({error.strerror or error})"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "nothing") + more
