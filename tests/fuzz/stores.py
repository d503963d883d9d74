"""Readers of an edit store: its files as they are, and as the model's editor takes them over."""

from __future__ import annotations

import functools
import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import safetensors.torch
import torch

import tiny
from balancedit import Editor
from balancedit.errors import BalanceditError
from balancedit.files.durable import digest
from balancedit.models.loading import LoadedModel, load_model
from balancedit.store import AuditEntry, DiskStore, Request, Terms
from balancedit.store.copying import copy_store
from balancedit.store.directory import schema
from fuzz import mutate
from fuzz.running import Reader, command
from store_cases import BINDING, make_edit, make_key, make_tensors, put
from tiny import taught

DATABASE = "store.sqlite3"
_FAMILY = "llava"


def _prepare(root: Path) -> None:
    with DiskStore.open(root, BINDING, create=True) as store:
        for number in (1, 2, 3):
            put(store, number)
        put(store, 4, retires=("00000003",))
        store.revert("00000002", _terms(0))


def _terms(version: int | None) -> Terms:
    """Terms that write to every table."""
    return Terms(version or None, AuditEntry("k", "default", "…"), Request("k", "first", "0" * 64))


def _feed(random: Random, root: Path) -> None:
    spoil(random, root)
    each = [_look, _take_over, _change, _copy, _list]
    for use in random.sample(each, 2):
        use(random, root)


def spoil(random: Random, root: Path) -> None:
    """Change a store's directory in one of the ways that a stranger, or a broken disk, would."""
    files = sorted(p for p in root.rglob("*") if p.is_file())
    path = random.choice(files)
    match random.randrange(7):
        case 0:
            path.write_bytes(mutate.bent(path.read_bytes(), random))
        case 1:
            random.choice(mutate.KINDS)(path)
        case 2 | 3 | 4:
            _spoil_row(random, root)
        case 5:
            _spoil_tensors(random, root)
        case 6:
            _spoil_schema(random, root)


def _spoil_row(random: Random, root: Path) -> None:
    """A value of a table, as SQLite would keep it."""
    value = random.choice(mutate.STRANGE)
    if isinstance(value, (list, dict)) or (isinstance(value, int) and abs(value) >= 2**63):
        value = json.dumps(value)
    if isinstance(value, str):
        value = value.encode(errors="surrogatepass")
        value = random.choice((value, value.decode(errors="ignore")))
    with closing(sqlite3.connect(root / DATABASE)) as db, db:
        table = random.choice(("store", "edits", "edits", "edits", "audit", "requests"))
        for trigger in schema.TRIGGERS:
            db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        where = random.choice(("", " WHERE number = 1")) if table == "edits" else ""
        with suppress(sqlite3.IntegrityError):
            db.execute(f"UPDATE {table} SET {random.choice(columns)} = ?{where}", (value,))


def _spoil_schema(random: Random, root: Path) -> None:
    statements = (
        "CREATE TRIGGER t AFTER UPDATE ON edits BEGIN DELETE FROM edits; END",
        "CREATE VIEW v AS SELECT * FROM edits",
        "CREATE TABLE other (a)",
        "ALTER TABLE edits DROP COLUMN loss",
        "ALTER TABLE edits ADD COLUMN more TEXT DEFAULT 'x'",
        "ALTER TABLE edits RENAME COLUMN loss TO lost",
        "DROP TABLE edits",
        "DELETE FROM store",
        "DELETE FROM edits WHERE number = 1",
        "ALTER TABLE edits RENAME TO edited",
        "CREATE INDEX i ON edits (abs(radius))",
        "PRAGMA user_version = 99",
        "PRAGMA application_id = 7",
        "PRAGMA journal_mode = DELETE",
        "DROP TABLE edits; CREATE VIEW edits AS SELECT * FROM store",
        "DROP TABLE edits; CREATE TABLE edits (id TEXT, question TEXT)",
        "DROP TABLE store; CREATE TABLE store (format INTEGER)",
        "UPDATE store SET format = 1; ALTER TABLE edits DROP COLUMN old_answer",
        "UPDATE store SET format = 4",
        "DROP TABLE audit",
        "DROP TABLE audit; CREATE TABLE audit (number INTEGER PRIMARY KEY, time, key)",
        "DROP TABLE audit; CREATE VIEW audit AS SELECT * FROM edits",
        "DROP TRIGGER audit_unchanged",
        "DROP TRIGGER audit_unchanged; CREATE TRIGGER audit_unchanged AFTER INSERT ON audit BEGIN "
        "DELETE FROM edits; END",
        "CREATE TRIGGER t AFTER INSERT ON requests BEGIN DELETE FROM edits; END",
        "ALTER TABLE audit ADD COLUMN more TEXT DEFAULT 'x'",
        "INSERT INTO audit SELECT number + 1, time, tenant, key, action, edit, version, detail "
        "FROM audit",
        "ALTER TABLE requests DROP COLUMN version",
        "DROP TABLE requests",
        "ALTER TABLE store DROP COLUMN version",
        "INSERT INTO edits SELECT number + 100, id || 'aa', question, target, answer_before, "
        "answer_after, radius, d_positive, d_negative, positives, positives_source, negative, "
        "image_sha256, created, seconds, steps, loss, method, old_answer, overlaps, retires, "
        "state, retired_by, warnings, old_tokens, key_index + 10000000, key_sha256, tensors_size, "
        "tensors_sha256, thumbnail FROM edits",
    )
    with closing(sqlite3.connect(root / DATABASE)) as db:
        db.executescript(random.choice(statements))


def _spoil_tensors(random: Random, root: Path) -> None:
    """Other tensors, or other bytes, with the right size and checksum in the record."""
    path = random.choice(sorted((root / "edits").glob("*.safetensors")))
    if random.random() < 0.3:
        data = mutate.bent(path.read_bytes(), random)
    else:
        tensors = safetensors.torch.load(path.read_bytes())
        data = safetensors.torch.save(_other(random, tensors))
    path.write_bytes(data)
    with closing(sqlite3.connect(root / DATABASE)) as db, db:
        sums = (len(data), digest(data), path.stem)
        db.execute("UPDATE edits SET tensors_size = ?, tensors_sha256 = ? WHERE id = ?", sums)


def _other(random: Random, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of another shape, type or value, or under another name."""
    name = random.choice(sorted(tensors))
    tensor = tensors[name]
    made = {
        "flat": lambda: tensor.flatten(),
        "more": lambda: torch.stack([tensor, tensor]),
        "none": lambda: tensor.flatten()[:0],
        "one": lambda: tensor.flatten()[0].clone(),
        "longer": lambda: torch.zeros([s + 1 for s in tensor.shape], dtype=tensor.dtype),
        "turned": lambda: tensor.t().contiguous() if tensor.dim() == 2 else tensor[None],
        "nan": lambda: torch.full_like(tensor, 0) + float("nan"),
        "inf": lambda: torch.full_like(tensor, 0) - float("inf"),
        "whole": lambda: tensor.to(torch.int64),
        "double": lambda: tensor.to(torch.float64),
        "boolean": lambda: tensor.bool(),
        "complex": lambda: tensor.to(torch.complex64),
        "eighth": lambda: tensor.float().to(torch.float8_e4m3fn),
    }[
        random.choice(
            (
                *("flat", "more", "none", "one", "longer", "turned", "nan", "inf", "whole"),
                *("double", "boolean", "complex", "eighth"),
            )
        )
    ]()
    others = {n: t for n, t in tensors.items() if n != name}
    match random.randrange(4):
        case 0:
            return others
        case 1:
            return others | {random.choice(("", "weight", "a", "q", "x" * 300)): made}
        case _:
            return others | {name: made}


# -- what is done with it ------------------------------------------------------------------------


def _look(random: Random, root: Path) -> None:
    with DiskStore.open(root, random.choice((None, BINDING))) as store:
        for edit_id in store.edits():
            store.thumbnail(edit_id)
        store.active()
        store.damaged(store.edits())
        store.changed()
        assert 0 <= store.seen_version <= store.version
        assert len(store.page(2)) <= 2
        for line in store.audit(5):
            json.dumps(line.to_dict())
        store.done(Request("k", "first", "0" * 64))
        assert store.read_only is False


def _take_over(random: Random, root: Path) -> None:
    with DiskStore.open(root, BINDING) as store:
        held, _ = store.held(store.active())
        for read in held.read:
            with suppress(BalanceditError):
                read()
        assert held.keys[held.rows].isfinite().all()
        good, _ = store.load(store.edits())
        for one in good:
            assert one.key.isfinite().all()


def _change(random: Random, root: Path) -> None:
    with DiskStore.open(root, BINDING) as store:
        with suppress(BalanceditError):
            terms = _terms(random.choice((None, 5, 7)))
            store.commit(make_edit(9), make_key(9), make_tensors(9), b"new", terms)
        for edit_id in list(store.edits()):
            with suppress(BalanceditError):
                store.revert(edit_id)


def _copy(random: Random, root: Path) -> None:
    with DiskStore.open(root) as store:
        copy_store(store, root / "copy")


def _list(random: Random, root: Path) -> None:
    options = random.choice((["--all"], ["--json"], ["--all", "--json"]))
    command("list", "--edits", str(root), *options)


# -- with a model --------------------------------------------------------------------------------


@functools.cache
def _loaded() -> LoadedModel:
    model, processor = taught.model(_FAMILY)
    layer, prompt = tiny.LAST[_FAMILY], tiny.PROMPT[_FAMILY]
    return load_model(model, processor=processor, layer=layer, prompt=prompt)


#: Methods whose edits are kept, each in a store of its own, and their settings.
_METHODS: dict[str, dict[str, Any]] = {
    "balancedit": {"lr": 0.5},
    "ft": {"lr": 0.05, "steps": 5},
    "grace": {"steps": 5},
    "ike": {"demonstrations": 0},
}


def _editor(root: Path) -> Editor:
    return Editor.on(_loaded(), edits=root, method=root.name, **_METHODS[root.name])


def _prepare_edited(root: Path) -> None:
    for method in _METHODS:
        with closing(_editor(root / method)) as ed:
            made = ed.edit(tiny.picture(1), taught.QUESTION, "ab", rephrasings=[taught.REWORDED])
        assert method != "balancedit" or made.answer_after == "ab"


def _feed_editor(random: Random, root: Path) -> None:
    root /= random.choice(("balancedit", "balancedit", *_METHODS))
    if random.random() < 0.6:
        _spoil_tensors(random, root)
    else:
        spoil(random, root)
    with closing(_editor(root)) as ed:
        answer = ed.ask(tiny.picture(1), taught.QUESTION)
        assert isinstance(answer.text, str)
        assert answer.fired not in {d.id for d in ed.damaged}
        ed.explain(tiny.picture(1), taught.REWORDED)


READERS: tuple[Reader, ...] = (
    Reader("store", _prepare, _feed),
    Reader("editor", _prepare_edited, _feed_editor),
)
