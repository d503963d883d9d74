"""MMEDIT: its fields, its files, and every irregularity of the published ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import mmedit_records, write_mmedit, write_pictures

from balancedit.data.catalogue import find
from balancedit.data.problems import LeftOut
from balancedit.data.sample import FileImage
from balancedit.errors import DataError, InputError


def test_the_fields_become_a_sample(tmp_path: Path) -> None:
    write_mmedit(tmp_path, mmedit_records(2))
    first, second = find(f"mmedit={tmp_path}").read("vqa-eval")
    assert (first.id, second.id) == ("vqa-eval/0", "vqa-eval/1")
    assert first.image == FileImage(tmp_path, "val2014/COCO_val2014_000000000000.jpg")
    assert first.question == "What is thing 0 in the picture?"
    assert (first.original_answer, first.target) == ("no", "yes")
    assert first.rephrases == ("Which thing is number 0 here?",)
    assert [i.name for i in first.image_rephrases] == [
        "val2014_image_rephrase/0_COCO_val2014_000000000000.png"
    ]
    similar, text = first.locality
    assert (similar.kind, similar.question, similar.answer) == (
        "similar",
        "What sport is this?",
        "tennis",
    )
    assert similar.image.name == "val2014/COCO_val2014_000000900000.jpg"
    assert (text.kind, text.image, text.question, text.answer) == (
        "unrelated",
        None,
        "who wrote book 0",
        "Author 0",
    )


def test_parts_are_the_files_that_are_there(tmp_path: Path) -> None:
    write_mmedit(tmp_path, mmedit_records(1), "caption/caption_train_edit.json")
    write_mmedit(tmp_path, mmedit_records(3), "vqa/vqa_eval.json")
    found = find(str(tmp_path))
    assert (found.name, found.parts) == ("mmedit", ("vqa-eval", "caption-train"))
    (sample,) = found.read("caption-train")
    assert (sample.category, sample.kind) == ("caption", "caption")
    with pytest.raises(InputError, match=r"vqa-train.*nearest"):
        found.read("vqa-train")


def test_kinds_are_vqas_answer_types(tmp_path: Path) -> None:
    write_mmedit(tmp_path, mmedit_records(3))
    assert [s.kind for s in find(str(tmp_path)).read("vqa-eval")] == ["yes/no", "number", "other"]


def test_padded_answers_are_stripped_and_an_unprefixed_locality_stays(tmp_path: Path) -> None:
    (record,) = mmedit_records(1)
    write_mmedit(tmp_path, [record | {"alt": " two ", "loc": "who wrote it"}])
    (sample,) = find(str(tmp_path)).read("vqa-eval")
    assert sample.target == "two"
    assert sample.locality[1].question == "who wrote it"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"alt": ""}, "index 1: has an empty target"),
        ({"alt": "  "}, "index 1: has an empty target"),
        ({"alt": 2}, "index 1: has the number 2 as 'alt', not a text"),
        ({"src": None}, "null as 'src'"),
        ({"image": "/etc/passwd"}, "not a file's relative name"),
        ({"image": "../../secret.png"}, "not a file's relative name"),
        ({"rephrase": ["a?"]}, "a list as 'rephrase'"),
    ],
)
def test_a_bad_record_is_named_and_left_out_only_when_told_to(
    tmp_path: Path, change: dict, said: str
) -> None:
    good, bad, other = mmedit_records(3)
    write_mmedit(tmp_path, [good, bad | change, other])
    with pytest.raises(DataError, match=said):
        find(str(tmp_path)).read("vqa-eval")
    left_out = LeftOut()
    samples = find(str(tmp_path), left_out).read("vqa-eval")
    assert [s.id for s in samples] == ["vqa-eval/0", "vqa-eval/2"]
    assert [p.where for p in left_out.problems] == ["vqa_eval.json index 1"]
    assert "left out 1 records" in left_out.message()


def test_a_missing_field_and_a_record_that_is_none(tmp_path: Path) -> None:
    (record,) = mmedit_records(1)
    del record["m_loc_q"]
    write_mmedit(tmp_path, [record, "text"])
    left_out = LeftOut()
    assert find(str(tmp_path), left_out).read("vqa-eval") == []
    assert [p.kind for p in left_out.problems] == ["missing-field", "wrong-type"]


def test_truncated_json_names_the_byte(tmp_path: Path) -> None:
    path = write_mmedit(tmp_path, mmedit_records(5))
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(DataError, match=r"vqa_eval\.json' is cut short at byte 1000"):
        find(str(tmp_path)).read("vqa-eval")
    path.write_bytes(whole.replace(b'"pred"', b'"pr\xffd"', 1))
    with pytest.raises(DataError, match=f"is no UTF-8 at byte {whole.index(b'pred') + 2}"):
        find(str(tmp_path)).read("vqa-eval")
    path.write_bytes(b'[{"a": "\xc3\xa9" 1}]')
    with pytest.raises(DataError, match="is damaged at byte 12"):
        find(str(tmp_path)).read("vqa-eval")
    path.write_text("{}")
    with pytest.raises(DataError, match="holds an object, not a list"):
        find(str(tmp_path)).read("vqa-eval")


def test_a_missing_folder_of_pictures_says_what_was_expected_and_found(tmp_path: Path) -> None:
    write_mmedit(tmp_path, mmedit_records(1))
    found = find(str(tmp_path))
    with pytest.raises(DataError, match=r"val2014/ \(COCO\).*Found in .*vqa_eval\.json"):
        found.load("vqa-eval")
    write_pictures(found.read("vqa-eval"))
    (sample,) = find(str(tmp_path)).load("vqa-eval")
    assert sample.image.open().size == (16, 16)


def test_pictures_may_lie_in_images(tmp_path: Path) -> None:
    write_mmedit(tmp_path, mmedit_records(1))
    (tmp_path / "images" / "val2014").mkdir(parents=True)
    (sample,) = find(str(tmp_path)).read("vqa-eval")
    assert sample.image.root == tmp_path / "images"


def test_the_digest_holds_the_files_hash(tmp_path: Path) -> None:
    write_mmedit(tmp_path / "a", mmedit_records(2))
    write_mmedit(tmp_path / "b", mmedit_records(2))
    path = write_mmedit(tmp_path / "c", mmedit_records(2))
    path.write_text(path.read_text() + "\n")  # the same records in another file
    digests = [find(str(tmp_path / d)).digest("vqa-eval") for d in "abc"]
    assert digests[0] == digests[1] != digests[2]
