"""Packing the photographs of `okedit-photos` from GroceryStoreDataset's files.

    python -m balancedit.data.photos_build DIR [--out FILE | --select FILE]

DIR holds the data set at the commit that `balancedit data fetch grocery` names. Every photograph is
checked against the list that ships with the package, cut to its middle square, reduced to 224
pixels and written as WebP. The same files and the same Pillow give the same bytes. `--select`
writes the list itself instead, by `select`'s rule.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import zipfile
from pathlib import Path

from PIL import Image, ImageOps

from balancedit.data import photo_pack
from balancedit.errors import BalanceditError, DataError
from balancedit.files.durable import digest, write_durably
from balancedit.models.pocket.artwork import Split
from balancedit.models.pocket.groceries import products

QUALITY = 80  # WebP's, lossy
COMMIT = "fc80ba90f803d79d0383df52c5a4ac5de99ff6fc"  # of marcusklasson/GroceryStoreDataset
#: How many photographs of each product are taken from which split; never from `val`.
TAKEN: dict[Split, dict[str, int]] = {
    "edit-eval": {"test": 10},
    "edit-train": {"train": 8},
    "never-edited": {"test": 10, "train": 6},
}
_STAMP = (1980, 1, 1, 0, 0, 0)  # a zip's earliest time: the bytes say nothing about when


def build(directory: Path, out: Path) -> str:
    """Write the pack; its SHA-256. Raises `DataError` for a photograph that is missing or is not
    the one listed, and leaves nothing then."""
    root = find_root(directory)
    packed = {
        name: reduced(_original(root / name, sha256))
        for name, sha256 in sorted(photo_pack.selected().items())
    }
    index = {
        "format": photo_pack.FORMAT,
        "selection": photo_pack.selection_sha256(),
        "pictures": {name: digest(data) for name, data in packed.items()},
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as pack:
        for name, data in {photo_pack.INDEX: json.dumps(index).encode(), **packed}.items():
            pack.writestr(zipfile.ZipInfo(name, _STAMP), data)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_durably(out, made.getvalue())
    return digest(made.getvalue())


def select(directory: Path) -> dict[str, str]:
    """The list of photographs: path -> SHA-256. Of each product the number in `TAKEN`, spread
    evenly over its numbered files, since neighbours were taken in one place. Raises `DataError`."""
    root, chosen = find_root(directory), dict[str, str]()
    for product in products():
        for split, n in TAKEN[product.split].items():
            found = sorted((root / split).glob(f"*/**/{product.key}_*.jpg"))
            if len(found) < n:
                raise DataError(f"'{root / split}' has {len(found)} photographs of {product.key}")
            for i in range(n):
                path = found[i * (len(found) - 1) // (n - 1)]
                chosen[path.relative_to(root).as_posix()] = digest(path.read_bytes())
    return chosen


def find_root(directory: Path) -> Path:
    """The folder that holds `train` and `test`: this one, `dataset` in it, or that in the folder
    that an unpacked archive makes. Raises `DataError`."""
    for found in (directory, directory / "dataset", *sorted(directory.glob("*/dataset"))):
        if (found / "train").is_dir() and (found / "test").is_dir():
            return found
    raise DataError(
        f"'{directory}' does not hold GroceryStoreDataset: no folders train and test in it or in "
        "its folder dataset; `balancedit data fetch grocery` says where it is to be had"
    )


def reduced(data: bytes) -> bytes:
    """A photograph's middle square at 224 pixels, as WebP."""
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    side = (photo_pack.SIDE, photo_pack.SIDE)
    written = io.BytesIO()
    ImageOps.fit(upright, side, Image.Resampling.LANCZOS).save(
        written, "WEBP", quality=QUALITY, method=6
    )
    return written.getvalue()


def _original(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"'{path}' cannot be read ({error.strerror or error}); fetch the data set again"
        ) from error
    found = digest(data)
    if found != sha256:
        raise DataError(
            f"'{path}' has the SHA-256 {found}, not {sha256}; fetch the data set at the commit "
            "that `balancedit data fetch grocery` names"
        )
    return data


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m balancedit.data.photos_build")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="FILE", default=photo_pack.built_at())
    parser.add_argument("--select", type=Path, metavar="FILE", help="write the list, no pack")
    given = parser.parse_args(arguments)
    try:
        if given.select:
            listed = {"commit": COMMIT, "pictures": select(given.directory)}
            given.select.write_text(json.dumps(listed, indent=0) + "\n")
            return 0
        sha256 = build(given.directory, given.out)
    except BalanceditError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{given.out} sha256 {sha256}, {given.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
