"""OKEDIT: two files joined by the question's id, pictures found by folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import okedit_files, okedit_folders, write_okedit, write_pictures

from balancedit.data.catalogue import find
from balancedit.data.problems import LeftOut
from balancedit.errors import DataError


def test_the_fields_become_a_sample(tmp_path: Path) -> None:
    write_okedit(tmp_path, *okedit_files(2))
    okedit_folders(tmp_path, (1000, 1001))
    found = find(str(tmp_path))
    assert (found.name, found.parts) == ("okedit", ("eval",))
    first, second = found.read("eval")
    assert first.id == "1000"
    assert first.image.name == "val2014/COCO_val2014_000000000100.jpg"
    assert (first.original_answer, first.target) == ("hp", "lenovo")
    assert len(first.rephrases) == 10
    assert [i.name for i in first.image_rephrases] == [
        f"rephrased_images/1000/{k}.png" for k in range(10)
    ]
    (probe,) = first.locality
    assert probe.image.name == "locality_images/1000/0.png"
    assert (probe.kind, probe.question, probe.answer) == ("similar", first.question, "dell")
    assert (first.shows, probe.shows) == ("an hp laptop", "a dell laptop")
    assert first.category == "Brands, Companies and Products"
    assert second.category == "Vehicles and Transportation"
    assert first.kind == "image-text based"


def test_parts_are_named_by_the_files_ending(tmp_path: Path) -> None:
    write_okedit(tmp_path, *okedit_files(1), part="_train")
    assert find(str(tmp_path)).parts == ("train",)
    write_okedit(tmp_path, *okedit_files(1))
    assert find(str(tmp_path)).parts == ("eval", "train")


def test_okvqas_train_files_are_about_train2014(tmp_path: Path) -> None:
    write_okedit(tmp_path, *okedit_files(1))
    for path in list(tmp_path.iterdir()):
        (tmp_path / path.name.replace("val2014", "train2014")).write_bytes(path.read_bytes())
    found = find(str(tmp_path))
    assert found.parts == ("eval", "train")
    images = [found.read(part)[0].image.name for part in found.parts]
    assert images[0] == "val2014/COCO_val2014_000000000100.jpg"
    assert images[1] == "train2014/COCO_train2014_000000000100.jpg"


def test_a_mistyped_id_spoils_its_record_alone(tmp_path: Path) -> None:
    annotations, questions = okedit_files(2)
    annotations["annotations"][0]["image_id"] = "100"
    write_okedit(tmp_path, annotations, questions)
    left_out = LeftOut()
    assert [s.id for s in find(str(tmp_path), left_out).read("eval")] == ["1001"]
    assert "a text as 'image_id'" in left_out.problems[0].what


def test_empty_targets_are_left_out_when_told_to(tmp_path: Path) -> None:
    annotations, questions = okedit_files(3)
    annotations["annotations"][1]["counterfact_answer"] = ""
    write_okedit(tmp_path, annotations, questions)
    with pytest.raises(DataError, match=r"annotations\.json index 1: has an empty target"):
        find(str(tmp_path)).read("eval")
    left_out = LeftOut()
    assert [s.id for s in find(str(tmp_path), left_out).read("eval")] == ["1000", "1002"]
    assert [p.kind for p in left_out.problems] == ["empty-target"]


def test_a_question_that_is_not_there_and_an_id_twice(tmp_path: Path) -> None:
    annotations, questions = okedit_files(3)
    annotations["annotations"][0]["question_id"] = 7
    annotations["annotations"][2]["question_id"] = 1001
    write_okedit(tmp_path, annotations, questions)
    left_out = LeftOut()
    assert [s.id for s in find(str(tmp_path), left_out).read("eval")] == ["1001"]
    assert [p.kind for p in left_out.problems] == ["missing-field", "repeated-id"]
    assert "of mscoco_val2014_annotations.json index 1" in left_out.problems[1].what


def test_the_authors_folder_of_locality_pictures(tmp_path: Path) -> None:
    write_okedit(tmp_path, *okedit_files(1))
    (tmp_path / "locality_images_dalle2").mkdir()
    (sample,) = find(str(tmp_path)).read("eval")
    assert sample.locality[0].image.name == "locality_images_dalle2/1000/0.png"
    (tmp_path / "locality_images_xl").mkdir()
    with pytest.raises(DataError, match=r"several folders.*dalle2, locality_images_xl"):
        find(str(tmp_path)).read("eval")


def test_a_missing_questions_file_or_list(tmp_path: Path) -> None:
    write_okedit(tmp_path, *okedit_files(1))
    asked = tmp_path / "OpenEnded_mscoco_val2014_questions.json"
    asked.write_text("[]")
    with pytest.raises(DataError, match="has no list 'questions'"):
        find(str(tmp_path)).read("eval")
    asked.unlink()
    with pytest.raises(DataError, match=r"questions\.json' cannot be read"):
        find(str(tmp_path)).read("eval")


def test_missing_folders_of_pictures(tmp_path: Path) -> None:
    write_okedit(tmp_path, *okedit_files(1))
    okedit_folders(tmp_path, (1000,))
    with pytest.raises(DataError, match=r"no folder '.*val2014'"):
        find(str(tmp_path)).load("eval")
    write_pictures(find(str(tmp_path)).read("eval"))
    assert find(str(tmp_path)).load("eval")[0].image_rephrases[9].open().size == (16, 16)
