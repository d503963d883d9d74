"""Who asked for a change, kept with it and for good; and requests that are carried out once."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from balancedit.errors import (
    EditConflictError,
    RepeatedRequestError,
    RequestReusedError,
    StoreError,
)
from balancedit.store import AuditEntry, DiskStore, Done, EditStore, Request, Terms
from balancedit.store import terms as terms_module
from balancedit.store.directory import schema
from store_cases import BINDING, make_edit, make_key, make_tensors, put

WHO = AuditEntry("key-1", "shop", "“nö\0” → '鶏'")
ASKED = Request("key-1", "c0ffee", "a" * 64)


def commit(store: EditStore, number: int, **terms: Any) -> None:
    edit = make_edit(number), make_key(number), make_tensors(number), None
    store.commit(*edit, Terms(**terms))


# -- the audit ------------------------------------------------------------------------------------


def test_changes_are_audited_newest_first(store: EditStore) -> None:
    put(store, 1)  # by somebody without a key
    commit(store, 2, audit=WHO)
    store.revert("00000001", Terms(audit=AuditEntry("key-2", "shop")))
    store.note("preview", Terms(audit=replace(WHO, detail="")))
    lines = store.audit(10)
    assert [(a.id, a.action, a.edit, a.version, a.key) for a in lines] == [
        (3, "preview", None, 3, "key-1"),
        (2, "revert", "00000001", 3, "key-2"),
        (1, "edit", "00000002", 2, "key-1"),
    ]
    assert (lines[-1].tenant, lines[-1].detail) == ("shop", WHO.detail)
    times = [datetime.fromisoformat(a.time) for a in lines]
    assert times == sorted(times, reverse=True)
    assert all(t.utcoffset() is not None for t in times)
    assert lines[0].to_dict().keys() == set(terms_module.AuditRecord.__dataclass_fields__)


def test_the_audit_is_read_in_pages(store: EditStore) -> None:
    for _ in range(5):
        store.note("preview", Terms(audit=WHO))
    assert [a.id for a in store.audit(2)] == [5, 4]
    assert [a.id for a in store.audit(2, after=4)] == [3, 2]
    assert [a.id for a in store.audit(2, after=2)] == [1]
    assert store.audit(2, after=1) == []
    assert [a.id for a in store.audit(2, after=99)] == [5, 4]


def test_what_fails_is_not_audited(store: EditStore) -> None:
    put(store, 1)
    for change in (
        lambda: commit(store, 1, audit=WHO),
        lambda: commit(store, 2, audit=WHO, expect=7),
        lambda: store.revert("00000009", Terms(audit=WHO)),
        lambda: store.note("preview", Terms(audit=WHO, expect=7)),
    ):
        with pytest.raises(Exception, match=r"in use|version|no edit"):
            change()
    assert store.audit(10) == []


def test_a_line_of_the_audit_is_never_changed(disk: DiskStore, root: Path) -> None:
    commit(disk, 1, audit=WHO)
    kept = disk.audit(10)
    line = "'t', 't', 'k', 'edit', NULL, 9, 'forged'"
    with sqlite3.connect(root / "store.sqlite3") as db:  # as anybody would
        for statement in (
            "UPDATE audit SET key = 'somebody else'",
            "DELETE FROM audit",
            f"INSERT OR REPLACE INTO audit VALUES (1, {line})",
            f"INSERT INTO audit VALUES (7, {line})",
            f"REPLACE INTO audit VALUES (0, {line})",
            "INSERT INTO audit (number, time, tenant, key, action, version, detail) "
            "VALUES (1, '', '', '', '', 0, '') ON CONFLICT DO UPDATE SET key = 'x'",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
                db.execute(statement)
    db.close()
    assert disk.audit(10) == kept


def test_triggers_that_were_dropped_come_back(disk: DiskStore, root: Path) -> None:
    commit(disk, 1, audit=WHO)
    disk.close()
    with sqlite3.connect(root / "store.sqlite3") as db:
        for name in schema.TRIGGERS:
            db.execute(f"DROP TRIGGER {name}")
    db.close()
    with DiskStore.open(root) as store:
        with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
            store._transactions._db.execute("DELETE FROM audit")
        assert len(store.audit(5)) == 1


def test_an_audit_of_other_types_is_refused(disk: DiskStore, root: Path) -> None:
    commit(disk, 1, audit=WHO)
    with sqlite3.connect(root / "store.sqlite3") as db:
        db.execute("DROP TRIGGER audit_unchanged")
        db.execute("UPDATE audit SET detail = x'00'")
    db.close()
    with pytest.raises(StoreError, match="line 1 of its audit: its detail is of type bytes"):
        disk.audit(5)
    assert len(disk.edits()) == 1


# -- requests that are carried out once -----------------------------------------------------------


def test_a_request_is_carried_out_once(store: EditStore) -> None:
    put(store, 1)
    assert store.done(ASKED) is None
    commit(store, 2, request=ASKED, audit=WHO)
    assert store.done(ASKED) == Done("00000002", 2)
    with pytest.raises(RepeatedRequestError, match="'c0ffee' was carried out before") as caught:
        commit(store, 3, request=ASKED, audit=WHO, expect=1)  # its version is no matter any more
    assert (caught.value.edit_id, caught.value.version) == ("00000002", 2)
    assert list(store.edits()) == ["00000001", "00000002"]
    assert (store.version, len(store.audit(9))) == (2, 1)
    commit(store, 4, request=replace(ASKED, key="key-2"))  # somebody else's of the same name
    commit(store, 5, request=replace(ASKED, name="other"))
    assert store.done(replace(ASKED, name="other")) == Done("00000005", 4)


def test_the_name_of_a_request_is_its_own(store: EditStore) -> None:
    commit(store, 1, request=ASKED)
    other = replace(ASKED, body_sha256="b" * 64)
    with pytest.raises(RequestReusedError, match="asked something else"):
        commit(store, 2, request=other)
    with pytest.raises(RequestReusedError):
        store.revert("00000001", Terms(request=other))
    with pytest.raises(RequestReusedError):
        store.done(other)
    assert (store.version, store.active()) == (1, ["00000001"])


def test_reverting_and_noting_are_requests_too(store: EditStore) -> None:
    put(store, 1)
    store.revert("00000001", Terms(request=ASKED))
    assert store.done(ASKED) == Done("00000001", 2)
    with pytest.raises(RepeatedRequestError):  # rather than that it is reverted already
        store.revert("00000001", Terms(request=ASKED))
    known = replace(ASKED, name="known")
    store.note("known", Terms(request=known), "00000001")
    assert store.done(known) == Done("00000001", 2)


def test_a_request_is_remembered_for_a_day_and_then_forgotten(
    store: EditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    commit(store, 1, request=ASKED)
    now += 24 * 3600
    assert store.done(ASKED) == Done("00000001", 1)
    now += terms_module.REQUESTS_KEPT_S
    assert store.done(ASKED) is None
    commit(store, 2, request=replace(ASKED, body_sha256="b" * 64))
    assert store.done(replace(ASKED, body_sha256="b" * 64)) == Done("00000002", 2)


def test_what_is_forgotten_takes_no_room(disk: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    for number in range(4):
        commit(disk, number, request=replace(ASKED, name=str(number)))
        now += terms_module.REQUESTS_KEPT_S / 2
    (left,) = disk._transactions._db.execute("SELECT count(*) FROM requests").fetchone()
    assert left == 2


def test_a_request_counts_for_every_handle_and_after_opening_again(root: Path) -> None:
    with (
        DiskStore.open(root, BINDING, create=True) as store,
        DiskStore.open(root, BINDING) as other,
    ):
        commit(store, 1, request=ASKED)
        with pytest.raises(RepeatedRequestError):
            commit(other, 2, request=ASKED)
    with DiskStore.open(root, BINDING) as store:
        assert store.done(ASKED) == Done("00000001", 1)
        with pytest.raises(EditConflictError):
            commit(store, 2, request=replace(ASKED, name="next"), expect=0)


def test_what_a_request_came_to_is_read_as_a_strangers(disk: DiskStore) -> None:
    commit(disk, 1, request=ASKED)
    disk._transactions._db.execute("UPDATE requests SET version = 'x'")
    with pytest.raises(StoreError, match="what request 'c0ffee' came to"):
        disk.done(ASKED)
