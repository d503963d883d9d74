"""VLKEB: entities, and portability where a record has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import vlkeb_records, write_mmedit, write_pictures

from balancedit.data.catalogue import find
from balancedit.errors import DataError


def test_entities_and_portability(tmp_path: Path) -> None:
    write_mmedit(tmp_path, vlkeb_records(2), "eval_multihop.json")
    (tmp_path / "mmkb_images").mkdir()
    plain, hop = find(str(tmp_path)).read("eval-multihop")
    assert plain.portability == ()
    (probe,) = hop.portability
    assert (probe.image, probe.question, probe.answer) == (
        hop.image,
        "Where is it made?",
        "Japan",
    )
    assert hop.image.root == tmp_path / "mmkb_images"
    assert hop.shows == "m.00001"
    assert hop.locality[0].shows == "m.15f91"
    assert hop.locality[1].shows is None


def test_the_other_form_of_portability(tmp_path: Path) -> None:
    records = vlkeb_records(3)
    records[0]["port_new"] = [
        {
            "port_type": "1-hop",
            "port_edit_q": "Where is its maker?",
            "port_edit_a": "Peru",
            "port_q": "Where is the maker of what is shown?",
            "port_a": "Peru",
        }
    ]
    records[2]["port_new"] = [*records[0]["port_new"], *records[1]["port_new"]]
    write_mmedit(tmp_path, records, "eval_edit_onehop.json")
    first, second, both = find(f"vlkeb={tmp_path}").read("eval-onehop")
    own, usual = ("Where is the maker of what is shown?", "Peru"), ("Where is it made?", "Japan")
    for sample, expected in ((first, [own]), (second, [usual]), (both, [own, usual])):
        assert [(p.question, p.answer) for p in sample.portability] == expected
        assert all(p.image == sample.image for p in sample.portability)


@pytest.mark.parametrize(
    ("hop", "said"),
    [
        ({"port_q": "Where?"}, "no field 'port_a'"),
        ({"port_q": " ", "port_a": "Peru"}, "an empty 'port_q'"),
        ({"port_q": 3, "port_a": "Peru"}, "the number 3 as 'port_q'"),
        ({"port_edit_q": "Where?", "port_edit_a": "Peru"}, "no field 'Q&A'"),
    ],
)
def test_hops_of_neither_form(tmp_path: Path, hop: dict[str, object], said: str) -> None:
    records = vlkeb_records(1)
    records[0]["port_new"] = [hop]
    write_mmedit(tmp_path, records, "eval_edit_onehop.json")
    with pytest.raises(DataError, match=said):
        find(f"vlkeb={tmp_path}").read("eval-onehop")


def test_parts_and_pictures(tmp_path: Path) -> None:
    write_mmedit(tmp_path, vlkeb_records(1), "train.json")
    write_mmedit(tmp_path, vlkeb_records(1), "eval.json")
    (tmp_path / "VLKEB_images").mkdir()
    found = find(f"vlkeb={tmp_path}")
    assert found.parts == ("eval", "train")
    with pytest.raises(DataError, match=r"no folder '.*VLKEB_images/m\.00000'"):
        found.load("eval")
    write_pictures(found.read("eval"))
    assert len(found.load("eval")) == 1


def test_a_hop_without_its_question(tmp_path: Path) -> None:
    records = vlkeb_records(2)
    records[1]["port_new"][0]["Q&A"] = {"Answer": "Japan"}
    write_mmedit(tmp_path, records, "eval.json")
    with pytest.raises(DataError, match="index 1: has no field 'Question'"):
        find(f"vlkeb={tmp_path}").read("eval")


@pytest.mark.parametrize("name", [".", "./", "..", "../a.png", "/a.png", " "])
def test_a_picture_s_name_that_is_no_file_s(tmp_path: Path, name: str) -> None:
    for field in ("image", "m_loc"):
        records = vlkeb_records(2)
        records[1][field] = name
        write_mmedit(tmp_path, records, "eval.json")
        with pytest.raises(DataError, match=rf"index 1: has .*'{field}'"):
            find(f"vlkeb={tmp_path}").read("eval")
