"""Stores by their address."""

from __future__ import annotations

from pathlib import Path

import pytest

from balancedit.errors import StoreError
from balancedit.store import BACKENDS, Binding, DiskStore, MemoryStore, open_store

BINDING = Binding("tiny", "f" * 64, "balancedit", {"layer": "fc"})


def test_no_address_is_this_process() -> None:
    for address in (None, "memory://"):
        assert isinstance(open_store(address, BINDING), MemoryStore)


def test_a_path_is_a_directory_and_is_made(tmp_path: Path) -> None:
    for address in (tmp_path / "a", str(tmp_path / "b"), f"directory://{tmp_path / 'c'}"):
        store = open_store(address, BINDING)
        assert isinstance(store, DiskStore)
        store.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_edits_in_memory_have_no_place() -> None:
    with pytest.raises(StoreError, match="have no place"):
        open_store("memory://here", BINDING)


def test_an_unknown_scheme_names_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="directory"):
        open_store("directry://edits", BINDING)
    assert not list(tmp_path.iterdir())


SHARED: dict[str, MemoryStore] = {}


def toy(place: str, binding: Binding) -> MemoryStore:
    return SHARED.setdefault(place, MemoryStore(binding))


def test_a_backend_is_one_line_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "toy", f"{__name__}:toy")
    first = open_store("toy://edits", BINDING)
    assert first is open_store("toy://edits", BINDING)
    assert first is not open_store("toy://others", BINDING)
