"""Downloads that go on where they stopped, are checked, and appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from balancedit.data.sources import Download, Source
from balancedit.errors import DataError
from balancedit.files.durable import write_durably
from balancedit.files.regular import read_whole

RECORD = "downloads.json"  # what was fetched, with hashes
_SPARE = 1 << 28  # bytes of disk to leave free

#: Told how many bytes are there, of all files together.
Progress = Callable[[int], None]


def fetch(source: Source, directory: Path, progress: Progress) -> dict[str, str]:
    """Fetch what can be fetched of a data set into a directory; files that are there and whole are
    kept. Returns file -> SHA-256. Raises `DataError`.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        record, before = _record(directory), 0
        for item in source.downloads:
            _fetch_one(item, directory, record, _after(before, progress))
            before += record[item.file]["size"]
            write_durably(directory / RECORD, json.dumps(record, indent=1).encode())
    except OSError as error:
        raise DataError(
            f"cannot write to '{directory}' ({error.strerror or error}); check its permissions and "
            "the disk's free space, then start again: what is there is kept"
        ) from error
    return {item.file: record[item.file]["sha256"] for item in source.downloads}


def verify(source: Source, directory: Path) -> dict[str, bool]:
    """Files that come by hand and are there: True where the hash is the known one. Published
    versions differ, so another hash need not mean damage."""
    digests = {}
    for name, sha256 in source.known:
        for path in sorted(directory.rglob(name)):
            digests[str(path.relative_to(directory))] = _hash(path) == sha256
    return digests


def same_tree(source: Source, directory: Path) -> bool | None:
    """Whether the folder that was unpacked is, file for file, the one of the source's commit; None
    where the source names no such folder."""
    if not source.tree:
        return None
    unpacked = directory / Path(source.downloads[0].file).stem
    return unpacked.is_dir() and git_tree(unpacked).hex() == source.tree


def git_tree(directory: Path) -> bytes:
    """The id (SHA-1, 20 bytes) that git gives a folder of plain files, none of them executable."""
    entries = []
    for path in directory.iterdir():
        name = path.name.encode()
        if path.is_dir():
            entries.append((name + b"/", b"40000 " + name + b"\0" + git_tree(path)))
        else:
            blob = _git_id(b"blob", path.read_bytes())
            entries.append((name, b"100644 " + name + b"\0" + blob))
    return _git_id(b"tree", b"".join(entry for _, entry in sorted(entries)))


def _git_id(kind: bytes, data: bytes) -> bytes:
    return hashlib.sha1(b"%s %d\0%s" % (kind, len(data), data), usedforsecurity=False).digest()


def _after(before: int, progress: Progress) -> Progress:
    """Progress of a file that comes after others of `before` bytes."""
    return lambda have: progress(before + have)


def _record(directory: Path) -> dict[str, Any]:
    path = directory / RECORD
    try:
        return dict(json.loads(read_whole(path))) if path.exists() else {}
    except (ValueError, TypeError) as error:
        raise DataError(f"'{path}' is damaged ({error}); remove it and start again") from error


def _fetch_one(item: Download, directory: Path, record: dict[str, Any], progress: Progress) -> None:
    target = directory / item.file
    known = record.get(item.file, {})
    if known.get("done") and (known.get("unpacked") or target.exists()):
        return
    if not target.exists():
        _download(item, target, progress)
    sha256 = _hash(target)
    wanted = item.sha256 or known.get("sha256")
    if wanted and sha256 != wanted:
        target.unlink()
        raise DataError(
            f"'{item.file}' from {item.url} has the SHA-256 {sha256}, not {wanted}; it was "
            "removed, fetch it again (if that repeats, the publisher has changed it)"
        )
    size = target.stat().st_size
    record[item.file] = {"url": item.url, "sha256": sha256, "size": size, "done": True}
    if item.unpack:
        _unpack(target, directory)
        record[item.file]["unpacked"] = True
        target.unlink()


def _download(item: Download, target: Path, progress: Progress) -> None:
    """Into ``FILE.part``, which a later call goes on with; renamed when whole."""
    import httpx2

    partial, about = (
        target.with_name(target.name + ".part"),
        target.with_name(f"{target.name}.etag"),
    )
    tag = about.read_text() if about.exists() and partial.exists() else ""
    have = partial.stat().st_size if tag else 0
    headers = {"Range": f"bytes={have}-", "If-Range": tag} if have else {}
    try:
        with (
            httpx2.Client(follow_redirects=True, timeout=60) as client,
            client.stream("GET", item.url, headers=headers) as reply,
        ):
            if reply.status_code == 416:  # all of it is there already
                os.replace(partial, target)
                about.unlink(missing_ok=True)
                return
            reply.raise_for_status()
            resumed = reply.status_code == 206
            have = have if resumed else 0
            length = reply.headers.get("Content-Length")
            total = have + int(length) if length else None
            if total and shutil.disk_usage(target.parent).free < total - have + _SPARE:
                raise DataError(
                    f"'{target.parent}' has no room for {item.file} ({total >> 20} MB); free some "
                    "and start again: what is there is kept"
                )
            about.write_text(reply.headers.get("ETag") or reply.headers.get("Last-Modified") or "")
            with partial.open("ab" if resumed else "wb") as file:
                for chunk in reply.iter_bytes():
                    file.write(chunk)
                    have += len(chunk)
                    progress(have)
    except httpx2.HTTPError as error:
        raise DataError(
            f"{item.url} could not be fetched ({error or type(error).__name__}); start again, and "
            "it goes on where it stopped"
        ) from error
    if total is not None and have != total:
        raise DataError(
            f"{item.url} stopped at {have} of {total} bytes; start again, and it goes on there"
        )
    os.replace(partial, target)
    about.unlink(missing_ok=True)


def _unpack(path: Path, directory: Path) -> None:
    """Unpack a zip beside it, refusing names that lead elsewhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise DataError(f"'{path.name}' holds '{name}', which leads out of its folder")
            archive.extractall(directory)
    except zipfile.BadZipFile as error:
        path.unlink()
        raise DataError(
            f"'{path.name}' is no zip file ({error}); it was removed, fetch it again"
        ) from error


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
