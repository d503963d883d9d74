"""OKEDIT: counterfactual answers to OK-VQA's questions, with generated pictures (the paper's own
data set, its Appendix A; the layout is that of its authors' code).

OK-VQA's two files, with fields added: the annotations carry `counterfact_answer` (the target),
`counterfact_type`, `image_object`, `locality_answer` and `locality_image_object`, the questions
carry `rephrased_questions`. Pictures are found by their folder: a question's id.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from balancedit.data import layout, reading
from balancedit.data.problems import Report
from balancedit.data.reading import Contents, Fields
from balancedit.data.sample import EditSample, FileImage, LocalityProbe
from balancedit.errors import DataError
from balancedit.files.names import is_directory

NAME = "okedit"
ABOUT = "counterfactual answers to OK-VQA's questions, with generated pictures (BalancEdit)"
REPHRASED, LOCALITY = "rephrased_images", "locality_images"
#: COCO's folders, and the part that a file about one of them is unless its name says another.
ORIGINALS = {"val2014": "eval", "train2014": "train"}
LAYOUT = (
    "mscoco_val2014_annotations.json and OpenEnded_mscoco_val2014_questions.json (or train2014; "
    "both may end in _train or another part's name), val2014/ (COCO), rephrased_images/ and one "
    "locality_images…/, the last two with a folder a question"
)

_ANNOTATIONS = re.compile(r"^mscoco_(val2014|train2014)_annotations(?:_(\w+))?\.json$")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def parts(directory: Path) -> dict[str, Path]:
    """The annotation files that are there. A part has the name that its file ends in; where that is
    none, those about COCO's val2014 are "eval", those about train2014 "train"."""
    if not is_directory(directory):
        return {}
    names = ((m, p) for p in sorted(directory.iterdir()) if (m := _ANNOTATIONS.match(p.name)))
    files = {m[2] or ORIGINALS[m[1]]: path for m, path in names}
    return dict(sorted(files.items(), key=lambda item: item[0] == "train"))


@dataclass(frozen=True)
class Annotated:
    """OK-VQA's annotations, each with its question and category, and the files' hashes."""

    records: list[tuple[Fields, Fields, str]]
    hashes: dict[str, str]


def annotated(path: Path, report: Report) -> Annotated:
    """An annotations file joined with the questions file beside it. Raises `DataError`."""
    asked_path = path.with_name(f"OpenEnded_{path.name.replace('annotations', 'questions')}")
    annotations, whole, sha256 = reading.read_member(path, "annotations")
    questions, _, asked_sha256 = reading.read_member(asked_path, "questions")
    by_id = dict(_by_id(asked_path, questions, report))
    named = whole.get("question_types")
    made = Annotated([], {path.name: sha256, asked_path.name: asked_sha256})
    for where, value in reading.indexed(path, annotations):
        try:
            fields = Fields(value, where, report)
            number = fields.whole("question_id")
            if number not in by_id:
                raise fields.bad("missing-field", f"has no question {number} in {asked_path.name}")
            category = fields.optional("question_type", "unknown")
        except reading.Unusable as bad:
            report(bad.problem)
            continue
        if isinstance(named, dict):
            category = str(named.get(category, category))
        made.records.append((fields, by_id[number], category))
    return made


def original(fields: Fields, path: Path) -> str:
    """The name of the COCO picture that an annotation of the file `path` is about."""
    folder = path.name.split("_")[1]
    return f"{folder}/COCO_{folder}_{fields.whole('image_id'):012d}.jpg"


def read(directory: Path, part: str, report: Report) -> Contents:
    """The samples of a part; of the pictures, only the folders are listed. Raises `DataError`."""
    path = parts(directory)[part]
    annotations = annotated(path, report)
    root = layout.image_root(directory, (*ORIGINALS, REPHRASED))
    locality = _locality_folder(root)
    makers = (
        (fields.where, partial(_sample, fields, asked, category, path, root, locality))
        for fields, asked, category in annotations.records
    )
    return reading.gather(makers, report, annotations.hashes)


def _by_id(path: Path, questions: list[Any], report: Report) -> Iterator[tuple[int, Fields]]:
    for where, value in reading.indexed(path, questions):
        try:
            fields = Fields(value, where, report)
            yield fields.whole("question_id"), fields
        except reading.Unusable as bad:
            report(bad.problem)


def _sample(
    fields: Fields, asked: Fields, category: str, path: Path, root: Path, locality: str
) -> EditSample:
    number = fields.whole("question_id")
    question = asked.text("question")
    target = fields.target("counterfact_answer")
    answers = [child.text("answer") for child in fields.children("answers")]
    image = FileImage(root, original(fields, path))
    return EditSample(
        id=str(number),
        image=image,
        question=question,
        target=target,
        original_answer=answers[0] if answers else "",
        rephrases=asked.texts("rephrased_questions"),
        image_rephrases=tuple(_pictures(root, f"{REPHRASED}/{number}")),
        locality=(
            LocalityProbe(
                "similar",
                FileImage(root, f"{locality}/{number}/0.png"),
                question,
                fields.optional("locality_answer") or None,
                shows=fields.optional("locality_image_object").lower() or None,
            ),
        ),
        portability=(),
        category=category,
        kind=fields.optional("counterfact_type", "unknown"),
        shows=fields.optional("image_object").lower() or image.name,
    )


def _pictures(root: Path, folder: str) -> list[FileImage]:
    """The pictures in a folder, in the order of their numbers; none where there is no folder."""
    try:
        names = [n for n in os.listdir(root / folder) if n.lower().endswith(_PICTURES)]
    except OSError:
        return []
    names.sort(key=lambda name: (len(name), name))
    return [FileImage(root, f"{folder}/{name}") for name in names]


def _locality_folder(root: Path) -> str:
    """The one folder of locality pictures; the authors' has the image model in its name."""
    if is_directory(root / LOCALITY) or not is_directory(root):
        return LOCALITY
    folders = sorted(
        p.name for p in root.iterdir() if is_directory(p) and p.name.startswith(LOCALITY)
    )
    if len(folders) > 1:
        raise DataError(
            f"'{root}' has several folders of locality pictures ({', '.join(folders)}); name the "
            f"one to use {LOCALITY}"
        )
    return folders[0] if folders else LOCALITY
