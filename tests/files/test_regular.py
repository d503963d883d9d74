"""Files in whose place something else stands: neither waited for, nor read without end, nor written
through."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from balancedit.cli.edit_many import read_facts
from balancedit.data.reading import read_text
from balancedit.errors import DataError, InputError, ResultsError
from balancedit.files import regular
from balancedit.files.journal import HEADER, LOCK, ROWS, Journal, read_results, read_rows
from balancedit.files.regular import read_whole

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX files")
RUN = {"model": "pocket"}


def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path, said in ((tmp_path / "pipe", "a named pipe"), (tmp_path / "link", "a device")):
        with pytest.raises(OSError, match=f"it is {said}, not a regular file"):
            read_whole(path)
        with pytest.raises(DataError, match=f"{path.name}' cannot be read.*{said}"):
            read_text(path)
    with pytest.raises(InputError, match=r"cannot be read.*a device"):
        read_facts(tmp_path / "link")


def test_facts_may_come_through_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    line = '{"image": "a.png", "question": "What?", "answer": "yes"}\n'
    writer = threading.Thread(target=path.write_text, args=(line,))
    writer.start()
    (fact,) = read_facts(path)
    writer.join()
    assert fact.answer == "yes"


def test_more_than_a_text_has_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regular, "LARGEST", 10)
    (tmp_path / "text").write_bytes(b"x" * 10)
    assert read_whole(tmp_path / "text") == b"x" * 10
    (tmp_path / "text").write_bytes(b"x" * 11)
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_whole(tmp_path / "text")


@pytest.mark.parametrize("name", [ROWS, LOCK])
def test_results_are_not_written_through_a_link(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine, and not ended by a line feed")
    journal = Journal(tmp_path / "r", RUN, {})
    (tmp_path / "r" / name).unlink(missing_ok=True)
    (tmp_path / "r" / name).symlink_to(precious)
    if name == ROWS:
        with pytest.raises(ResultsError, match="a link, not a regular file"):
            journal.append({"sample": "a"})
    with pytest.raises(ResultsError, match="a link, not a regular file"):
        Journal(tmp_path / "r", RUN, {})
    assert precious.read_text() == "mine, and not ended by a line feed"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"method": ["ft"]}', "another 'method'"),
        ('{"held": -1}', "another 'held'"),
        ('{"scores": {"Acc": 7}}', "another 'scores'"),
        ('{"scores": {"Acc": "high"}}', "another 'scores'"),
        ('{"edit_seconds": Infinity}', "another 'edit_seconds'"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str, said: str) -> None:
    Journal(tmp_path, RUN, {})
    (tmp_path / ROWS).write_text(line + "\n")
    with pytest.raises(ResultsError, match=f"line 1 of .*{said}.*take the line out"):
        list(read_rows(tmp_path))


def test_a_result_that_lacks_its_name_or_run(tmp_path: Path) -> None:
    Journal(tmp_path, RUN, {}).append({"method": "ft", "held": 1, "scores": {}})
    with pytest.raises(ResultsError, match="has no 'sample'"):
        list(read_results(tmp_path))
    (tmp_path / ROWS).write_text(
        '{"method": "ft", "held": 1, "sample": "a", "failed": "", "run": 3}\n'
    )
    with pytest.raises(ResultsError, match=r"is of run 3, which run\.json does not list"):
        list(read_results(tmp_path))


@pytest.mark.parametrize("text", ["[]", '{"identity": 1}', '{"identity": {}, "runs": [1]}', "["])
def test_a_header_of_another_form(tmp_path: Path, text: str) -> None:
    (tmp_path / HEADER).write_text(text)
    with pytest.raises(ResultsError, match="cannot be used"):
        Journal(tmp_path, RUN, {})
