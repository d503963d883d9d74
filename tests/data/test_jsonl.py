"""Our own format and Hugging Face's image folder: the same record from each."""

from __future__ import annotations

import csv
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from published import write_pictures
from torch.utils.data import DataLoader

from balancedit.data import jsonl
from balancedit.data.catalogue import find
from balancedit.data.problems import LeftOut
from balancedit.data.sample import EditSample, FileImage, LocalityProbe, PortabilityProbe
from balancedit.errors import DataError, InputError


def made(root: Path) -> EditSample:
    image = FileImage(root, "images/hp.png")
    return EditSample(
        id="hp",
        image=image,
        question="What brand is this?",
        target="lenovo",
        original_answer="hp",
        rephrases=("Which brand?", "Who made it?"),
        image_rephrases=(FileImage(root, "images/hp2.png"),),
        locality=(
            LocalityProbe(
                "similar", FileImage(root, "images/dell.png"), "What brand is this?", "dell", "dell"
            ),
            LocalityProbe("no-image", None, "What brand is this?", None),
        ),
        portability=(PortabilityProbe(image, "Where is its maker?", "china"),),
        category="brands",
        kind="brand",
        shows="an hp",
    )


def test_a_sample_is_written_and_read_back(tmp_path: Path) -> None:
    sample = made(tmp_path)
    (tmp_path / "eval.jsonl").write_text(json.dumps(jsonl.line(sample)) + "\n\n")
    found = find(str(tmp_path))
    assert (found.name, found.parts) == ("jsonl", ("eval",))
    assert found.read("eval") == [sample]


def test_texts_with_line_separators_stay_one_line(tmp_path: Path) -> None:
    sample = replace(made(tmp_path), question="What\u2028brand\x85is it?")
    line = json.dumps(jsonl.line(sample), ensure_ascii=False)
    (tmp_path / "eval.jsonl").write_text(f"{line}\r\n", newline="")
    assert find(str(tmp_path)).read("eval") == [sample]


def test_only_three_fields_are_needed(tmp_path: Path) -> None:
    line = {"image": "a.png", "question": "What?", "target": "yes"}
    (tmp_path / "mine.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(line))
    first, second = find(str(tmp_path)).read("mine")
    assert (first.id, second.id) == ("1", "2")
    assert (first.rephrases, first.locality, first.portability) == ((), (), ())
    assert (first.original_answer, first.category, first.shows) == ("", "unknown", "a.png")


def test_lines_that_are_not_records(tmp_path: Path) -> None:
    good = {"image": "a.png", "question": "What?", "target": "yes"}
    lines = [
        "{not json",
        json.dumps(good),
        json.dumps(good | {"locality": [{"kind": "near", "question": "?"}]}),
        json.dumps(good | {"rephrases": "Which?"}),
        json.dumps(good | {"id": "2"}),
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    left_out = LeftOut()
    assert len(find(str(tmp_path), left_out).read("mine")) == 1
    found = {p.where: p.what for p in left_out.problems}
    assert "at byte 1 of the line" in found["mine.jsonl line 1"]
    assert "'near' as a locality's kind" in found["mine.jsonl line 3"]
    assert "a text as 'rephrases', not a list" in found["mine.jsonl line 4"]
    assert "has the id '2'" in found["mine.jsonl line 5"]


def test_an_image_folder_gives_the_same_record(tmp_path: Path) -> None:
    sample = made(tmp_path / "test")
    line = jsonl.line(sample)
    line["file_name"] = line.pop("image")
    line["image_rephrases_file_names"] = line.pop("image_rephrases")
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps(line))
    found = find(str(tmp_path))
    assert (found.name, found.parts) == ("imagefolder", ("test", "train"))
    assert found.read("test") == [sample]


def test_an_image_folder_in_csv(tmp_path: Path) -> None:
    sample = made(tmp_path)
    line = jsonl.line(sample)
    line["file_name"] = line.pop("image")
    cells = {k: json.dumps(v) if isinstance(v, list) else v for k, v in line.items()}
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, cells)
        rows.writeheader()
        rows.writerow(cells)
        rows.writerow(cells | {"id": "other", "rephrases": "Which one?"})
    left_out = LeftOut()
    found = find(f"imagefolder={tmp_path}", left_out)
    assert found.parts == ("all",)
    assert found.read("all") == [sample]
    assert [p.where for p in left_out.problems] == ["metadata.csv line 3"]
    assert "no JSON list as 'rephrases'" in left_out.problems[0].what


def test_pictures_open_in_any_order_from_several_threads(tmp_path: Path) -> None:
    sample = made(tmp_path)
    write_pictures([sample])
    images = [sample.image, *sample.image_rephrases, sample.locality[0].image] * 20
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda image: image.open().size, reversed(images)))
    assert set(sizes) == {(16, 16)}


def test_pictures_open_in_the_workers_of_a_data_loader(tmp_path: Path) -> None:
    sample = made(tmp_path)
    write_pictures([sample])
    loader = DataLoader([sample] * 8, batch_size=None, num_workers=2, collate_fn=_sizes)
    assert list(loader) == [[(16, 16)] * 3] * 8


def _sizes(sample: EditSample) -> list[tuple[int, int]]:
    images = (sample.image, *sample.image_rephrases, sample.locality[0].image)
    return [image.open().size for image in images if image is not None]


def test_marks_leave_edits_out(tmp_path: Path) -> None:
    line = {"image": "a.png", "question": "What?", "target": "yes"}
    (tmp_path / "mine.jsonl").write_text("\n".join(json.dumps(line | {"id": i}) for i in "abc"))
    before = find(str(tmp_path)).digest("mine")
    marked = {"a": {"mark": "drop", "note": "blurred"}, "b": {"mark": "keep"}}
    marks = tmp_path / "marks.json"
    marks.write_text(json.dumps({"format": 1, "marks": {"mine": marked}}))
    found = find(str(tmp_path))
    assert [s.id for s in found.read("mine")] == ["b", "c"]
    assert found.digest("mine") != before
    for wrong in ({"format": 2, "marks": {}}, {"format": 1, "marks": {"mine": {"a": "drop"}}}, []):
        marks.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=r"marks\.json' holds no marks"):
            find(str(tmp_path)).read("mine")


def test_names_and_directories_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data format 'jsnl'; nearest: jsonl"):
        find(f"jsnl={tmp_path}")
    with pytest.raises(DataError, match="no directory"):
        find(f"jsonl={tmp_path}/none")
    with pytest.raises(DataError, match=r"holds no data set.*vqa_eval\.json.*Found: nothing"):
        find(str(tmp_path))
    with pytest.raises(InputError, match="no data set 'okedit-pokcet'; nearest: okedit-pocket"):
        find("okedit-pokcet")


ROWS = (
    'file_name,question,target,rephrases{0}a.png,Who?,hp,"[""Which{0}one?""]"{0}b.png,Who?,hp,{0}'
)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_csv_s_lines_end_in_any_way(tmp_path: Path, end: str) -> None:
    (tmp_path / "metadata.csv").write_bytes(
        ROWS.format(end).replace(f"Which{end}", "Which ").encode()
    )
    first, second = find(f"imagefolder={tmp_path}").read("all")
    assert (first.rephrases, second.target) == (("Which one?",), "hp")


def test_a_cell_that_is_no_json_or_too_long_is_a_finding(tmp_path: Path) -> None:
    cells = ["[" * 5000, '"', "9" * 5000, "x" * 200_000]  # nested, open, a number, a long cell
    rows = [f'a.png,Who?,hp,"{cell}"' for cell in cells]
    for row, what in zip(rows, ("nested|recursion", "JSON", "JSON", "no CSV"), strict=True):
        (tmp_path / "metadata.csv").write_text(f"file_name,question,target,rephrases\n{row}\n")
        left_out = LeftOut()
        assert find(f"imagefolder={tmp_path}", left_out).read("all") == []
        assert re.search(what, left_out.problems[0].what), left_out.problems
