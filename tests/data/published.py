"""Files in the formats in which data sets are published, with made-up records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from balancedit.data.layout import files
from balancedit.data.sample import EditSample, FileImage

Record = dict[str, Any]


def mmedit_records(n: int) -> list[Record]:
    """MMEDIT's fields; a third are yes/no, a third numbers."""
    answers = [("no", "yes"), ("3", "two"), ("a red kite", "a blue kite")]
    return [
        {
            "src": f"What is thing {i} in the picture?",
            "pred": answers[i % 3][0],
            "rephrase": f"Which thing is number {i} here?",
            "alt": answers[i % 3][1],
            "image": f"val2014/COCO_val2014_{i:012d}.jpg",
            "image_rephrase": f"val2014_image_rephrase/{i}_COCO_val2014_{i:012d}.png",
            "loc": f"nq question: who wrote book {i}",
            "loc_ans": f"Author {i}",
            "m_loc": f"val2014/COCO_val2014_{900000 + i:012d}.jpg",
            "m_loc_q": "What sport is this?",
            "m_loc_a": "tennis",
        }
        for i in range(n)
    ]


def vlkeb_records(n: int) -> list[Record]:
    """VLKEB's fields; every other record has portability."""
    records = mmedit_records(n)
    for i, record in enumerate(records):
        record |= {
            "image": f"m.{i:05x}/google_15.jpg",
            "image_rephrase": f"m.{i:05x}/google_3.jpg",
            "m_loc": f"m.{90000 + i:05x}/google_1.jpg",
        }
        if i % 2:
            record["port_type"] = "1-hop"
            record["port_new"] = [
                {
                    "port_type": "1-hop",
                    "Q&A": {"Question": "Where is it made?", "Answer": "Japan"},
                }
            ]
    return records


def okedit_files(n: int) -> tuple[Record, Record]:
    """OKEDIT's annotations and questions."""
    annotations = [
        {
            "image_id": 100 + i,
            "question_id": 1000 + i,
            "question_type": "one" if i % 2 else "two",
            "answer_type": "other",
            "confidence": 3,
            "answers": [
                {"answer": "hp", "raw_answer": "hp", "answer_id": k, "answer_confidence": "yes"}
                for k in range(1, 11)
            ],
            "counterfact_answer": "lenovo",
            "counterfact_type": "image-text based",
            "counterfact_type_reason": "[image-text based], because the name changes",
            "image_object": "An HP laptop",
            "locality_answer": "dell",
            "locality_image_object": "A Dell laptop",
        }
        for i in range(n)
    ]
    questions = [
        {
            "image_id": 100 + i,
            "question_id": 1000 + i,
            "question": f"What brand is computer {i}?",
            "rephrased_questions": [f"Which brand {k} is computer {i}?" for k in range(10)],
        }
        for i in range(n)
    ]
    types = {"one": "Vehicles and Transportation", "two": "Brands, Companies and Products"}
    return (
        {"info": {}, "question_types": types, "annotations": annotations},
        {"info": {}, "questions": questions},
    )


def write_mmedit(directory: Path, records: list[Record], name: str = "vqa_eval.json") -> Path:
    """MMEDIT without its pictures."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=4))
    return path


def write_okedit(directory: Path, annotations: Record, questions: Record, part: str = "") -> None:
    """OKEDIT without its pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"mscoco_val2014_annotations{part}.json").write_text(json.dumps(annotations))
    asked = directory / f"OpenEnded_mscoco_val2014_questions{part}.json"
    asked.write_text(json.dumps(questions))


def okedit_folders(directory: Path, numbers: Iterable[int]) -> None:
    """Ten empty files a question where its rephrased pictures are, and its locality picture."""
    for number in numbers:
        for folder, n in (("rephrased_images", 10), ("locality_images", 1)):
            (directory / folder / str(number)).mkdir(parents=True)
            for k in range(n):
                (directory / folder / str(number) / f"{k}.png").touch()


def write_pictures(samples: Iterable[EditSample]) -> None:
    """A small picture for every file that the samples name."""
    for shade, image in enumerate(image for s in samples for image in files(s)):
        write_picture(image, shade)


def write_picture(image: FileImage, shade: int = 0) -> None:
    """One small picture."""
    path = image.root / image.name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (shade * 37 % 256, 90, shade * 11 % 256)).save(path)
