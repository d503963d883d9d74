"""What is written stays, and a file system that cannot promise so is no reason to stop."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from balancedit.files import durable


def refusing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """No directory can be opened."""
    real = os.open

    def opening(path: Any, *how: Any, **more: Any) -> int:
        if os.path.isdir(path):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *how, **more)

    monkeypatch.setattr(durable.os, "open", opening)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOSYS])
def test_a_directory_that_cannot_be_opened_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refusing(monkeypatch, number)
    durable.write_durably(tmp_path / "file", b"kept")
    assert (tmp_path / "file").read_bytes() == b"kept"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_one_that_fails_for_another_reason_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        durable.sync_directory(tmp_path)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        durable.sync_directory(tmp_path / "gone")
