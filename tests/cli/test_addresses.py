"""`--edits` names a store by its address, as `Editor.load(edits=…)` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from balancedit.cli import session
from balancedit.cli.main import main
from balancedit.errors import StoreError
from balancedit.store import BACKENDS, Binding, DiskStore, MemoryStore, look_into
from store_cases import BINDING, make_edit, make_key, make_tensors, put

SHARED: dict[str, MemoryStore] = {}


def toy(place: str, binding: Binding | None) -> MemoryStore:
    """A backend whose stores stay while the process runs."""
    if binding is None and place not in SHARED:
        raise StoreError(f"no edits in toy://{place}")
    return SHARED.setdefault(place, MemoryStore(binding or BINDING))


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a store with one edit, which is no directory."""
    monkeypatch.setitem(BACKENDS, "toy", f"{__name__}:toy")
    monkeypatch.setattr(f"{__name__}.SHARED", {})
    edit = make_edit(1)
    toy("shop", BINDING).commit(edit, make_key(1), make_tensors(1))
    return "toy://shop"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_edits_of_any_backend_are_listed_shown_and_reverted(
    filled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (edit,) = said(capsys, "list", "--edits", filled)["edits"]
    assert said(capsys, "show", edit["id"], "--edits", filled)["store"]["model"] == BINDING.model
    assert said(capsys, "revert", edit["id"][:4], "--edits", filled)["active"] == 0
    assert said(capsys, "list", "--edits", filled)["edits"] == []


def test_a_directory_may_be_written_as_an_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DiskStore.open(tmp_path / "mine", BINDING, create=True) as store:
        put(store, 1)
    for address in (str(tmp_path / "mine"), f"directory://{tmp_path / 'mine'}"):
        assert len(said(capsys, "list", "--edits", address)["edits"]) == 1
        assert session.existing_edits(address) == address


def test_a_directory_without_a_store_is_not_made_by_asking(tmp_path: Path) -> None:
    for address in (str(tmp_path / "none"), f"directory://{tmp_path / 'none'}"):
        assert session.existing_edits(address) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("memory://", "end with the process"),
        ("memry://", "unknown kind of edit store 'memry'; nearest: memory"),
        ("toy://nowhere", "no edits in toy://nowhere"),
        ("directory:///nowhere/at/all", "no edit store in '/nowhere/at/all'"),
    ],
)
def test_where_there_is_nothing_it_says_so(
    filled: str, capsys: pytest.CaptureFixture[str], address: str, says: str
) -> None:
    with pytest.raises(StoreError):
        look_into(address)
    assert main(["list", "--edits", address]) == 1
    assert says in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("command", ["ask", "explain", "edit", "edit-many"])
def test_what_loads_a_model_hands_the_address_on(
    command: str, tmp_path: Path, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def load(options: Any, edits: Any, **_: Any) -> Any:
        given.append(edits)
        raise StoreError("far enough")

    monkeypatch.setattr(session, "load_editor", load)
    (tmp_path / "facts.jsonl").write_text(
        '{"image": "demo:owl", "question": "What?", "answer": "ab"}\n'
    )
    asked = ["demo:owl", "What is this?"]
    arguments = {"edit": [*asked, "ab"], "edit-many": [str(tmp_path / "facts.jsonl")]}
    for address in (filled, "memory://"):
        assert main([command, *arguments.get(command, asked), "--edits", address]) == 1
    assert given == [filled, "memory://"]
