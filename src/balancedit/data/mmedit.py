"""MMEDIT: E-VQA and E-IC, edits of answers and captions about COCO pictures (Cheng et al. 2023,
"Can We Edit Multimodal Large Language Models?", arXiv 2310.08475).

A part is one JSON file, a list of objects: `src` the question, `pred` the answer to replace, `alt`
the target, `rephrase` the question reworded, `image`, `image_rephrase`, and two localities: `loc`
and `loc_ans` in text alone, `m_loc`, `m_loc_q` and `m_loc_a` with another picture.
"""

from __future__ import annotations

from pathlib import Path

from balancedit.data import layout, reading
from balancedit.data.problems import Report
from balancedit.data.reading import Contents, Fields
from balancedit.data.sample import EditSample, LocalityProbe
from balancedit.files.names import is_file
from balancedit.inputs.vqa import vqa_answer

NAME = "mmedit"
ABOUT = "E-VQA and E-IC: answers and captions about COCO pictures (Cheng et al. 2023)"
#: Part -> the file's published name; evaluation first, for a benchmark takes the first part.
FILES = {
    "vqa-eval": "vqa_eval.json",
    "vqa-train": "vqa_train.json",
    "caption-eval": "caption_eval_edit.json",
    "caption-train": "caption_train_edit.json",
}
IMAGES = ("val2014", "val2014_image_rephrase")
LAYOUT = (
    "one of "
    + ", ".join(FILES.values())
    + " (or in vqa/ and caption/), with the folders val2014/ (COCO) and val2014_image_rephrase/ "
    "beside it or in images/"
)

_TEXT_PREFIX = "nq question: "  # of most text locality questions, from Natural Questions
_FOLDERS = ("", "vqa", "caption", "editing-data/vqa", "editing-data/caption")


def parts(directory: Path) -> dict[str, Path]:
    """The parts whose file is there."""
    files = {}
    for part, name in FILES.items():
        places = (directory / folder / name for folder in _FOLDERS)
        if path := next((p for p in places if is_file(p)), None):
            files[part] = path
    return files


def read(directory: Path, part: str, report: Report) -> Contents:
    """The samples of a part; pictures are not looked at. Raises `DataError`."""
    path = parts(directory)[part]
    root = layout.image_root(directory, IMAGES)
    values, sha256 = reading.read_list(path)
    category = part.partition("-")[0]

    def make(fields: Fields) -> EditSample:
        return sample(fields, root, f"{part}/{fields.number}", category)

    return reading.build(reading.indexed(path, values), make, report, {path.name: sha256})


def sample(fields: Fields, root: Path, name: str, category: str) -> EditSample:
    """One record in MMEDIT's fields.

    A picture's file stands for the thing it shows: nothing else says what that is.
    """
    image = fields.image("image", root)
    other = fields.image("m_loc", root)
    asked = fields.text("loc")
    target = fields.target("alt")
    return EditSample(
        id=name,
        image=image,
        question=fields.text("src"),
        target=target,
        original_answer=fields.optional("pred"),
        rephrases=(fields.text("rephrase"),),
        image_rephrases=(fields.image("image_rephrase", root),),
        locality=(
            LocalityProbe(
                "similar",
                other,
                fields.text("m_loc_q"),
                fields.optional("m_loc_a") or None,
                shows=other.name,
            ),
            LocalityProbe(
                "unrelated",
                None,
                asked.removeprefix(_TEXT_PREFIX).strip() or asked,
                fields.optional("loc_ans") or None,
            ),
        ),
        portability=(),
        category=category,
        kind="caption" if category == "caption" else _answer_kind(target),
        shows=image.name,
    )


def _answer_kind(answer: str) -> str:
    """The sort of an answer as VQA divides them: "yes/no", "number" or "other"."""
    normalised = vqa_answer(answer)
    if normalised in ("yes", "no"):
        return "yes/no"
    return "number" if normalised.replace(".", "", 1).isdigit() else "other"
