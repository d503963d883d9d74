"""Results on disk: whole lines count, other runs are refused, a killed run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from balancedit.errors import ResultsError
from balancedit.files.journal import HEADER, ROWS, Journal, read_header, read_rows

RUN = {"model": "pocket", "n": 3, "methods": ["ft", "grace"]}


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    Journal(tmp_path, RUN, {"machine": "one"}).append({"sample": "a"})
    again = Journal(tmp_path, RUN, {"machine": "two"})
    again.append({"sample": "b"})
    assert [r["sample"] for r in again.rows()] == ["a", "b"]
    assert read_header(tmp_path)["about"] == {"machine": "one"}


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    Journal(tmp_path, RUN, {}).append({"sample": "a"})
    with (tmp_path / ROWS).open("a") as file:
        file.write('{"sample": "hal')
    assert [r["sample"] for r in read_rows(tmp_path)] == ["a"]
    again = Journal(tmp_path, RUN, {})
    again.append({"sample": "b"})
    assert [r["sample"] for r in again.rows()] == ["a", "b"]


@pytest.mark.parametrize("change", [{"n": 4}, {"data": "other"}])
def test_another_run_is_refused_and_the_difference_named(
    tmp_path: Path, change: dict[str, object]
) -> None:
    Journal(tmp_path, RUN, {})
    with pytest.raises(ResultsError, match=next(iter(change))):
        Journal(tmp_path, RUN | change, {})


def test_results_of_what_was_called_otherwise_before_go_on(tmp_path: Path) -> None:
    Journal(tmp_path, RUN | {"fingerprint": "old"}, {}).append({"sample": "a"})
    now = RUN | {"fingerprint": "new"}
    again = Journal(tmp_path, now, {}, formerly={"fingerprint": "old"})
    assert [row["sample"] for row in again.rows()] == ["a"]
    for formerly in ({"fingerprint": "older"}, {}):
        with pytest.raises(ResultsError, match="its fingerprint is 'old', not 'new'"):
            Journal(tmp_path, now, {}, formerly=formerly)
    with pytest.raises(ResultsError, match="another run"):
        Journal(tmp_path, now | {"data": "other"}, {}, formerly={"fingerprint": "old"})


def test_no_results_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="bench run"):
        read_header(tmp_path)


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultsError, match="--out"):
        Journal(tmp_path / "file", RUN, {})


def test_methods_may_be_added_but_not_changed(tmp_path: Path) -> None:
    Journal(tmp_path, RUN, {}, {"ft": {"lr": 0.1}})
    Journal(tmp_path, RUN, {}, {"grace": {"epsilon": 1.0}})
    assert read_header(tmp_path)["methods"] == {"ft": {"lr": 0.1}, "grace": {"epsilon": 1.0}}
    with pytest.raises(ResultsError, match="ft"):
        Journal(tmp_path, RUN, {}, {"ft": {"lr": 0.2}})
    assert read_header(tmp_path)["methods"]["ft"] == {"lr": 0.1}


def test_several_processes_may_write_to_one_directory(tmp_path: Path) -> None:
    first = Journal(tmp_path, RUN, {}, {"ft": {}})
    second = Journal(tmp_path, RUN, {}, {"grace": {}})
    first.append({"method": "base", "held": 0, "sample": "a", "by": 1})
    second.append({"method": "base", "held": 0, "sample": "a", "by": 2})
    second.append({"method": "grace", "held": 1, "sample": "a"})
    assert [r.get("by") for r in read_rows(tmp_path)] == [1, None]
    assert read_header(tmp_path)["methods"] == {"ft": {}, "grace": {}}


def test_rows_name_the_run_that_wrote_them(tmp_path: Path) -> None:
    ft, grace = {"ft": {"lr": 0.1}}, {"grace": {"epsilon": 1.0}}
    first = Journal(tmp_path, RUN, {"code": "a"}, ft)
    Journal(tmp_path, RUN, {"code": "looks only"}, ft)
    second = Journal(tmp_path, RUN, {"code": "b"}, ft | grace)
    second.append({"sample": "a"})
    first.append({"sample": "b"})
    second.append({"sample": "c"})
    assert [(r["sample"], r["run"]) for r in read_rows(tmp_path)] == [("a", 0), ("b", 1), ("c", 0)]
    assert read_header(tmp_path)["runs"] == [
        {"code": "b", "methods": ft | grace},
        {"code": "a", "methods": ft},
    ]


def test_nothing_known_of_a_run_adds_nothing(tmp_path: Path) -> None:
    Journal(tmp_path, RUN, {}).append({"sample": "a"})
    assert list(read_rows(tmp_path)) == [{"sample": "a"}]
    assert "runs" not in read_header(tmp_path)


def test_results_of_before_runs_were_listed_go_on(tmp_path: Path) -> None:
    old = {"identity": RUN, "methods": {"ft": {"lr": 0.1}}, "about": {"threads": 1}}
    (tmp_path / HEADER).write_text(json.dumps(old))
    (tmp_path / ROWS).write_text('{"method": "ft", "held": 1, "sample": "a"}\n')
    with pytest.raises(ResultsError, match="ft"):
        Journal(tmp_path, RUN, {"code": "b"}, {"ft": {"lr": 0.2}})
    again = Journal(tmp_path, RUN, {"code": "b"}, {"ft": {"lr": 0.1}})
    assert read_header(tmp_path) == old
    again.append({"method": "ft", "held": 1, "sample": "b"})
    assert [r.get("run") for r in again.rows()] == [None, 0]
    header = read_header(tmp_path)
    assert header["about"] == {"threads": 1}
    assert header["runs"] == [{"code": "b", "methods": {"ft": {"lr": 0.1}}}]


def test_a_result_line_that_is_damaged_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path, RUN, {})
    journal.append({"sample": "a", "loss": float("nan"), "output": "x\u2028y"})
    assert [row["output"] for row in journal.rows()] == ["x\u2028y"]
    for bad, said in ((b"{\n", "is no JSON"), (b"[]\n", "no JSON object"), (b"\xff\n", "no UTF-8")):
        whole = (tmp_path / ROWS).read_bytes()
        (tmp_path / ROWS).write_bytes(whole + bad)
        with pytest.raises(ResultsError, match=said):
            list(read_rows(tmp_path))
        with pytest.raises(ResultsError, match=said):
            Journal(tmp_path, RUN, {}).news()
        (tmp_path / ROWS).write_bytes(whole)
