"""What a data set is built from: pictures with a question and its answer."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from balancedit.data import layout, okedit, reading
from balancedit.data.problems import Report
from balancedit.data.reading import Fields, Unusable
from balancedit.data.sample import FileImage
from balancedit.errors import DataError
from balancedit.files.names import exists, expanded, is_directory
from balancedit.inputs.images import open_image


@dataclass(frozen=True)
class Fact:
    """A picture, a question about it and the true answer. id: safe as a file's name."""

    id: str
    image: FileImage
    question: str
    answer: str
    category: str


def read(path: Path, report: Report) -> tuple[list[Fact], str]:
    """The facts in OK-VQA's two files (their directory, or the annotations' file) or in a JSON
    Lines file with `image`, `question`, `answer` and, where known, `id` and `category`; and a hash
    of the files.

    Records that cannot be used are reported. Raises `DataError`.
    """
    path = expanded(path)
    if path.suffix == ".jsonl":
        values, hashed = reading.read_lines(path, report)
        made = [_line(where, value, path.parent, report) for where, value in values]
    else:
        made, hashed = _okvqa(path, report)
    facts = [fact for fact in made if fact is not None]
    if not facts:
        raise DataError(f"'{path}' holds no fact to build from; check it")
    (name, times), *_ = Counter(fact.id for fact in facts).most_common(1)
    if times > 1:
        raise DataError(f"'{path}' has the id '{name}' more than once; ids name files")
    return facts, hashed


def check_pictures(facts: list[Fact]) -> None:
    """Open every picture once. Raises `ImageError` for the first that cannot be."""
    for fact in facts:
        open_image(fact.image.root / fact.image.name)


def _line(where: str, value: object, root: Path, report: Report) -> Fact | None:
    try:
        fields = Fields(value, where, report)
        return Fact(
            id=_safe(fields.optional("id") or fields.number),
            image=fields.image("image", root),
            question=fields.text("question"),
            answer=fields.text("answer"),
            category=fields.optional("category", "unknown"),
        )
    except Unusable as bad:
        report(bad.problem)
        return None


def _okvqa(path: Path, report: Report) -> tuple[list[Fact | None], str]:
    if not exists(path):
        raise DataError(f"there is no file or directory '{path}'; check the path")
    directory = path if is_directory(path) else path.parent
    files = [p for p in okedit.parts(directory).values() if is_directory(path) or p.samefile(path)]
    if not files:
        raise DataError(
            f"'{path}' is neither a .jsonl file nor OK-VQA's mscoco_val2014_annotations.json or "
            "the directory of that"
        )
    pairs = okedit.annotated(files[0], report)
    root = layout.image_root(directory, okedit.ORIGINALS)
    facts: list[Fact | None] = []
    for fields, asked, category in pairs.records:
        try:
            answers = [child.text("answer") for child in fields.children("answers")]
            if not answers:
                raise fields.bad("missing-field", "has no answers")
            image = FileImage(root, okedit.original(fields, files[0]))
            number = str(fields.whole("question_id"))
            facts.append(Fact(number, image, asked.text("question"), answers[0], category))
        except Unusable as bad:
            report(bad.problem)
    hashed = hashlib.sha256("".join(sorted(pairs.hashes.values())).encode()).hexdigest()
    return facts, hashed


def _safe(name: str) -> str:
    """A name without what file systems stumble over; a hash keeps shortened ones apart."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip(".")[:80]
    if kept == name:
        return kept
    return f"{kept}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
