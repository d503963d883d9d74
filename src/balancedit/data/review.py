"""The review page of a data set: one file that needs no server and no network.

It holds the edits with small copies of their pictures and what `check` found about each, pages and
filters them, and exports a person's marks as the file that `marks` reads.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from balancedit.data import jsonl, marks, sample
from balancedit.data.check import Checked
from balancedit.data.sample import EditSample, ImageRef
from balancedit.errors import DataError, ImageError
from balancedit.files.durable import write_durably
from balancedit.inputs.images import thumbnail

SIDE = 192  # pixels of a picture's longer side
_DATA, _STYLE = "{{data}}", "{{style}}"
#: In `assets/style`, shared with the served page.
_SHEETS = ("tokens.css", "controls.css")


def write(
    path: Path, directory: Path, parts: Mapping[str, Checked], most: int | None, side: int = SIDE
) -> int:
    """Write the page about the first `most` edits of each part; returns how many it shows.

    Marks that are in the directory already are shown, and edits marked to drop with them. Raises
    `DataError` where the page cannot be written.
    """
    shown = {name: _samples(part, most, side) for name, part in parts.items()}
    data = {
        "format": marks.FORMAT,
        "file": marks.FILE,
        "marks": marks.read(directory),
        "digest": sample.digest([s for p in parts.values() for s in p.contents.samples], ""),
        "parts": shown,
    }
    # In HTML, nothing but "</script" and "<!--" ends or changes a script's text.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    page = resources.files(__package__).joinpath("review.html").read_text(encoding="utf-8")
    try:
        write_durably(path, page.replace(_STYLE, _style(), 1).replace(_DATA, text, 1).encode())
    except OSError as error:
        raise DataError(
            f"'{path}' cannot be written ({error.strerror or error}); choose another with --out"
        ) from error
    return sum(map(len, shown.values()))


def _style() -> str:
    folder = resources.files("balancedit").joinpath("assets/style")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in _SHEETS)


def _samples(part: Checked, most: int | None, side: int) -> list[dict[str, Any]]:
    warnings = defaultdict(list)
    for problem in part.problems:
        warnings[problem.where].append(f"{problem.kind}: {problem.what}")
    pairs = list(zip(part.contents.samples, part.contents.places, strict=True))[:most]
    return [_shown(s, side) | {"warnings": warnings[where]} for s, where in pairs]


def _shown(edit: EditSample, side: int) -> dict[str, Any]:
    """An edit as the page has it: a line of our own format with the pictures in it."""
    line = jsonl.line(edit)
    line["image"] = _picture(edit.image, side)
    line["image_rephrases"] = [_picture(image, side) for image in edit.image_rephrases]
    for probe, held in zip(line["locality"], edit.locality, strict=True):
        probe["image"] = _picture(held.image, side) if held.image is not None else None
    for follows in line["portability"]:
        del follows["image"]  # the edit's own
    return line


def _picture(image: ImageRef, side: int) -> dict[str, str]:
    """A small copy as a data address, or why there is none."""
    try:
        small = thumbnail(image.open(), side)
    except ImageError as error:
        return {"problem": str(error)}
    kind = "webp" if small[8:12] == b"WEBP" else "png"
    return {"data": f"data:image/{kind};base64,{base64.b64encode(small).decode()}"}
