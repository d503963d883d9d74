"""Our own format: JSON Lines, an edit a line, beside a folder of pictures.

Every `NAME.jsonl` in the directory is a part. A line needs `image`, `question` and `target`; the
other fields are those of `EditSample` and may be left out. Pictures are named relative to the
directory. docs/data.md has an example.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from balancedit.data import reading
from balancedit.data.problems import Report
from balancedit.data.reading import Contents, Fields
from balancedit.data.sample import (
    LOCALITY_KINDS,
    EditSample,
    FileImage,
    LocalityKind,
    LocalityProbe,
    PortabilityProbe,
)
from balancedit.files.names import is_directory

NAME = "jsonl"
ABOUT = "your own facts: JSON Lines beside a folder of pictures"
LAYOUT = "NAME.jsonl, a part each, and the pictures they name relative to the directory"


def parts(directory: Path) -> dict[str, Path]:
    """Every JSON Lines file but those that other formats put beside pictures."""
    files = sorted(directory.glob("*.jsonl")) if is_directory(directory) else []
    return {path.stem: path for path in files if path.stem != "metadata"}


def read(directory: Path, part: str, report: Report) -> Contents:
    """The samples of a part; pictures are not looked at. Raises `DataError`."""
    path = parts(directory)[part]
    values, sha256 = reading.read_lines(path, report)

    def make(fields: Fields) -> EditSample:
        return sample(fields, directory)

    return reading.build(values, make, report, {path.name: sha256})


def sample(fields: Fields, root: Path) -> EditSample:
    """One line as a sample; its id is the line's number where it names none."""
    image = fields.image("image", root)
    return EditSample(
        id=fields.optional("id") or fields.number,
        image=image,
        question=fields.text("question"),
        target=fields.target("target"),
        original_answer=fields.optional("original_answer"),
        rephrases=fields.texts("rephrases"),
        image_rephrases=tuple(
            fields.file("image_rephrases", name, root) for name in fields.list("image_rephrases")
        ),
        locality=tuple(_probe(child, root) for child in fields.children("locality")),
        portability=tuple(
            PortabilityProbe(_image(child, root), child.text("question"), child.text("answer"))
            for child in fields.children("portability")
        ),
        category=fields.optional("category", "unknown"),
        kind=fields.optional("kind", "unknown"),
        shows=fields.optional("shows") or image.name,
    )


def line(sample: EditSample) -> dict[str, Any]:
    """A sample of picture files as a line of this format; `sample` undone."""
    return {
        "id": sample.id,
        "image": _name(sample.image),
        "question": sample.question,
        "target": sample.target,
        "original_answer": sample.original_answer,
        "rephrases": list(sample.rephrases),
        "image_rephrases": [_name(image) for image in sample.image_rephrases],
        "locality": [
            {
                "kind": probe.kind,
                "image": _name(probe.image),
                "question": probe.question,
                "answer": probe.answer,
                "shows": probe.shows,
            }
            for probe in sample.locality
        ],
        "portability": [
            {"image": _name(probe.image), "question": probe.question, "answer": probe.answer}
            for probe in sample.portability
        ],
        "category": sample.category,
        "kind": sample.kind,
        "shows": sample.shows,
    }


def _probe(fields: Fields, root: Path) -> LocalityProbe:
    kind = fields.text("kind")
    if kind not in LOCALITY_KINDS:
        known = ", ".join(LOCALITY_KINDS)
        raise fields.bad("wrong-type", f"has '{kind}' as a locality's kind, not one of {known}")
    return LocalityProbe(
        cast(LocalityKind, kind),
        _image(fields, root),
        fields.text("question"),
        fields.optional("answer") or None,
        fields.optional("shows") or None,
    )


def _image(fields: Fields, root: Path) -> FileImage | None:
    return fields.image("image", root) if fields.has("image") else None


def _name(image: Any) -> str | None:
    return image.name if isinstance(image, FileImage) else None
