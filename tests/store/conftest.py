"""A store in memory and one in a directory, new for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from balancedit.store import DiskStore, EditStore, MemoryStore
from store_cases import BINDING


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "edits #1?"  # characters that mean something in an address


@pytest.fixture
def disk(root: Path) -> Iterator[DiskStore]:
    with DiskStore.open(root, BINDING, create=True) as store:
        yield store


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest) -> EditStore:
    return MemoryStore(BINDING) if request.param == "memory" else request.getfixturevalue("disk")
