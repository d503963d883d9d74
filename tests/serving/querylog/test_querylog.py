"""The query log: what is kept, for how long, and that nothing about it breaks answering."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tiny
from balancedit.errors import InputError
from balancedit.layer.decisions import Said
from balancedit.serving.querylog import Noted, QueryLog, QueryLogError, Retention, database, rows

WAY, OTHER_WAY = "a" * 32, "b" * 32
DAY = 86_400.0
SAID = Said("owl", (5, 300, 2))


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queries.sqlite3"


@pytest.fixture
def log(path: Path, clock: Clock) -> Iterator[QueryLog]:
    with QueryLog.open(path, Retention(days=2, rows=20), clock=clock) as opened:
        yield opened


def key(seed: int, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=width).astype(np.float16)


def noted(seed: int = 1, **other: Any) -> Noted:
    usual: dict[str, Any] = {
        "tenant": "default",
        "question": f"What is thing {seed}?",
        "alone": True,
        "picture": tiny.picture(seed, side=224),
        "way": WAY,
        "key": key(seed),
        "untouched": SAID,
        "fired": None,
        "answer": "owl",
    }
    return Noted(**usual | other)


def fill(log: QueryLog, *entries: Noted) -> None:
    for entry in entries:
        log.note(entry)
    log.flush()


def questions(log: QueryLog, **how: Any) -> list[str]:
    return [q.question for q in log.queries(**how)[0]]


def test_what_was_noted_is_there_newest_first(log: QueryLog, clock: Clock) -> None:
    fill(log, noted(1), noted(2, fired="ab12", answer="parrot", untouched=None))
    (newest, oldest), more = log.queries()
    assert not more
    assert (oldest.question, oldest.before, oldest.fired, oldest.answer) == (
        "What is thing 1?",
        "owl",
        None,
        "owl",
    )
    assert (newest.before, newest.fired, newest.answer) == (None, "ab12", "parrot")
    assert oldest.time == "2027-01-15T08:00:00+00:00"
    assert oldest.has_thumbnail
    assert log.state.written == 2
    assert log.state.failing is None


def test_pages_follow_one_another(log: QueryLog) -> None:
    fill(log, *(noted(seed) for seed in range(5)))
    first, more = log.queries(limit=2)
    assert more
    second, more = log.queries(limit=3, after=first[-1].id)
    assert not more
    assert [q.question for q in (*first, *second)] == [
        f"What is thing {n}?" for n in (4, 3, 2, 1, 0)
    ]
    for wrong in ({"limit": 0}, {"limit": 10**6}, {"after": "x"}, {"after": "1; DROP TABLE log"}):
        with pytest.raises(InputError):
            log.queries(**wrong)


def test_the_keys_load_into_one_matrix_as_they_were(log: QueryLog) -> None:
    fill(log, noted(1), noted(2, way=OTHER_WAY, key=key(2, 8)), noted(3, untouched=None))
    kept = log.remembered(WAY)
    assert kept.keys.numpy().tobytes() == np.stack([key(1), key(3)]).tobytes()
    assert kept.said(0).ids == SAID.ids
    assert kept.said(1) is None
    assert [one.question for one in kept.look([1, 0])] == ["What is thing 3?", "What is thing 1?"]
    assert kept.said(0) == SAID, "with the text once it was looked at"
    assert log.remembered(OTHER_WAY).keys.shape == (1, 8)
    assert len(log.remembered("c" * 32).keys) == 0


def test_tenants_do_not_see_one_another(log: QueryLog) -> None:
    fill(log, noted(1), noted(2, tenant="acme"))
    (theirs,), _ = log.queries(tenant="acme")
    assert questions(log, tenant="default") == ["What is thing 1?"]
    assert len(log.of("acme").remembered(WAY).keys) == 1
    assert log.thumbnail(theirs.id, "acme")
    assert log.thumbnail(theirs.id, "default") is None
    assert log.queries(after=theirs.id, tenant="default")[0][0].tenant == "default"


def test_forgetting_a_tenant_leaves_nothing_of_it_on_the_disk(log: QueryLog, path: Path) -> None:
    secret = "What is on Ludmilla's passport?"
    fill(log, noted(1, question=secret, tenant="acme"), noted(2))
    assert log.forget("acme") == 1
    assert questions(log) == ["What is thing 2?"]
    for file in path.parent.iterdir():
        assert b"Ludmilla" not in file.read_bytes(), file.name
    fill(log, noted(3))
    assert log.queries()[0][0].id == "3", "an id is never given again"


@pytest.mark.parametrize("side", [16, 96, 224])
def test_no_full_picture_is_kept(log: QueryLog, side: int) -> None:
    fill(log, noted(1, picture=tiny.picture(1, side=side)), noted(2, picture=None))
    (without, shown), _ = log.queries()
    assert not without.has_thumbnail
    kept = log.thumbnail(shown.id)
    assert kept is not None
    with Image.open(BytesIO(kept)) as image:
        assert max(image.size) <= min(rows.SIDE, side // 2 if side <= rows.SIDE else side)


def test_only_the_newest_rows_are_kept(log: QueryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("balancedit.serving.querylog.writer._EXPIRE_ROWS", 1)
    fill(log, *(noted(seed) for seed in range(30)))
    assert questions(log) == [f"What is thing {n}?" for n in range(29, 9, -1)]
    assert len(log.remembered(WAY).keys) == 20


def test_old_questions_go(path: Path, clock: Clock) -> None:
    with QueryLog.open(path, Retention(days=2), clock=clock) as log:
        fill(log, noted(1))
        clock.now += 1.5 * DAY
        fill(log, noted(2))
    clock.now += DAY
    with QueryLog.open(path, Retention(days=2), clock=clock) as log:
        assert questions(log) == ["What is thing 2?"]
        assert log.thumbnail("1") is None


@pytest.mark.parametrize("wrong", [{"days": 0}, {"days": float("nan")}, {"rows": 0}])
def test_a_retention_that_keeps_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Retention(**wrong)


@pytest.mark.skipif(os.name == "nt", reason="permissions are another matter there")
def test_the_file_is_its_owners_alone(log: QueryLog, path: Path) -> None:
    fill(log, noted(1))
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file.name


# -- what goes wrong -------------------------------------------------------------------------


def test_a_full_disk_loses_questions_and_no_answer(
    log: QueryLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect = database.connect

    def full(path: Path, **how: Any) -> sqlite3.Connection:
        db = connect(path, **how)
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
        return db

    many = [noted(seed, question="why? " * 2000) for seed in range(8)]
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(database, "connect", full)
        fill(log, *many)
        fill(log, *many)
    assert "the disk is full" in str(log.state.failing)
    assert log.state.dropped == 16
    assert sum("answers go on without it" in r.message for r in caplog.records) == 1, "said once"
    assert "why?" not in caplog.text
    fill(log, noted(9))
    assert log.state.failing is None
    assert questions(log) == ["What is thing 9?"]


def test_a_log_that_is_damaged_meanwhile_breaks_nothing(log: QueryLog, path: Path) -> None:
    fill(log, noted(1))
    for side in ("", "-wal", "-shm"):
        file = path.with_name(path.name + side)
        if file.exists():
            file.write_bytes(os.urandom(8192))
    log._writer._db = None  # as after a failed write: the file is opened anew
    fill(log, noted(2))
    assert log.state.failing is not None
    assert log.state.dropped == 1


def test_what_is_too_much_at_once_is_dropped(
    log: QueryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    write = rows.write
    monkeypatch.setattr(rows, "write", lambda *given: (held.wait(10), write(*given)))
    for seed in range(300):
        log.note(noted(seed, picture=None))
    assert log.state.dropped == 300 - 256
    held.set()
    log.flush()
    assert log.state.written == 256


def test_pictures_that_wait_do_not_fill_the_memory(
    log: QueryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    write = rows.write
    monkeypatch.setattr(rows, "write", lambda *given: (held.wait(10), write(*given)))
    monkeypatch.setattr("balancedit.serving.querylog.writer._PIXELS", 3 * 100 * 100)
    for seed in range(5):
        log.note(noted(seed, picture=tiny.picture(seed, side=100)))
    assert log.state.dropped == 2
    held.set()
    log.flush()
    fill(log, noted(9))
    assert log.state.written == 4


def test_a_picture_that_cannot_be_made_small_is_left_out(log: QueryLog) -> None:
    closed = tiny.picture(1)
    closed.close()
    fill(log, noted(1, picture=closed), noted(2))
    assert [q.has_thumbnail for q in log.queries()[0]] == [True, False]
    assert log.remembered(WAY).row(0) is None


def test_a_strangers_file_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be read as one" * 40)
    with pytest.raises(QueryLogError, match="damaged, or no query log"):
        QueryLog.open(path)
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE edits (id TEXT)")
    db.close()
    with pytest.raises(QueryLogError, match="holds a table 'edits'"):
        QueryLog.open(path)


@pytest.mark.parametrize(
    "stranger",
    [
        "CREATE TRIGGER t AFTER INSERT ON queries BEGIN DELETE FROM queries; END",
        "CREATE VIEW v AS SELECT 1",
        "UPDATE log SET format = 99",
        "DROP TABLE ways",
    ],
)
def test_a_log_with_more_or_less_in_it_is_refused(path: Path, stranger: str) -> None:
    QueryLog.open(path).close()
    with sqlite3.connect(path) as db:
        db.execute(stranger)
    db.close()
    for opening in (QueryLog.open, QueryLog.read):
        with pytest.raises(QueryLogError):
            opening(path)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    QueryLog.open(tmp_path / "real.sqlite3").close()
    path.symlink_to(tmp_path / "real.sqlite3")
    with pytest.raises(QueryLogError, match="regular file"):
        QueryLog.open(path)


def test_nothing_is_made_where_there_is_no_log(path: Path) -> None:
    with pytest.raises(QueryLogError, match="no such file"):
        QueryLog.read(path)
    assert not path.exists()


def test_keys_that_are_not_what_was_written_are_left_out(log: QueryLog, path: Path) -> None:
    fill(log, *(noted(seed) for seed in range(6)))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE queries SET key = x'00' WHERE number = 1")
        db.execute("UPDATE queries SET key = 'text' WHERE number = 2")
        nan = np.full(16, np.nan, dtype="<f2").tobytes()
        db.execute("UPDATE queries SET key = ? WHERE number = 3", (nan,))
        db.execute("UPDATE queries SET tokens = x'000000' WHERE number = 4")
    db.close()
    kept = log.remembered(WAY)
    assert [one.id for one in kept.look(range(len(kept.keys)))] == ["5", "6"]
    assert kept.keys.numpy().tobytes() == np.stack([key(4), key(5)]).tobytes()


@pytest.mark.parametrize(
    "wrong", ["question = 7", "time = 'now'", "tenant = x'00'", "time = 1e300", "answer = 1"]
)
def test_rows_of_other_types_are_damage(log: QueryLog, path: Path, wrong: str) -> None:
    fill(log, noted(1))
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE queries SET {wrong}")
    db.close()
    if wrong in ("question = 7", "answer = 1"):  # a column of texts makes a text of a number
        assert len(log.queries()[0]) == 1
        return
    with pytest.raises(QueryLogError):
        log.queries()


def test_a_small_copy_that_is_none_is_not_given_out(log: QueryLog, path: Path) -> None:
    fill(log, noted(1))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE thumbnails SET picture = ?", (b"<script>alert(1)</script>",))
    db.close()
    assert log.thumbnail("1") is None
    assert log.remembered(WAY).row(0) is None


def test_a_conversation_cannot_be_asked_again(log: QueryLog) -> None:
    fill(log, noted(1, alone=False), noted(2, picture=None), noted(3))
    kept = log.remembered(WAY)
    assert kept.row(0) is None
    assert kept.row(1) == (None, "What is thing 2?")
    picture, question = kept.row(2)
    assert (question, max(picture.size)) == ("What is thing 3?", rows.SIDE)


def test_what_is_deleted_meanwhile_is_not_shown(log: QueryLog) -> None:
    fill(log, noted(1, tenant="acme"), noted(2))
    kept = log.remembered(WAY)
    log.forget("acme")
    assert [one.question for one in kept.look([0, 1])] == ["", "What is thing 2?"]
    assert kept.row(0) is None


def test_a_log_that_is_read_alone_is_not_written(log: QueryLog, path: Path) -> None:
    fill(log, noted(1))
    with QueryLog.read(path) as other:
        other.note(replace(noted(2)))
        other.flush()
        assert questions(other) == ["What is thing 1?"]
        with pytest.raises(QueryLogError, match="to look at alone"):
            other.forget("default")
    assert questions(log) == ["What is thing 1?"]
