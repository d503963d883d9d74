"""Downloads, from a server of the test's own: resumed, checked, whole or not there."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from balancedit.data import photos_build
from balancedit.data.fetch import RECORD, fetch, git_tree, same_tree, verify
from balancedit.data.sources import SOURCES, Download, Source
from balancedit.errors import DataError

CONTENT = bytes(range(256)) * 5000


class Server(ThreadingHTTPServer):
    """Serves `content` with ranges; stops after `cut` bytes of a reply where that is set."""

    content, tag, cut = CONTENT, '"one"', 0
    served: list[tuple[int, int]]  # first byte and number of bytes of each reply


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        content, start = self.server.content, 0
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range") == self.server.tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", self.server.tag)
        self.end_headers()
        body = content[start:]
        if self.server.cut:
            body = body[: self.server.cut]
        self.server.served.append((start, len(body)))
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.served = []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()


def source(server: Server, **changes: object) -> Source:
    item = Download("a.bin", f"http://127.0.0.1:{server.server_port}/a.bin", 1)
    return Source("made", "home", "none", (replace(item, **changes),))


def quiet(have: int) -> None:
    pass


def test_a_download_that_broke_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cut = 500_000
    with pytest.raises(DataError, match="start again"):
        fetch(source(server), tmp_path, quiet)
    assert not (tmp_path / "a.bin").exists()
    server.cut = 0
    hashes = fetch(source(server), tmp_path, quiet)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert hashes == {"a.bin": hashlib.sha256(CONTENT).hexdigest()}
    start, length = server.served[-1]
    assert 0 < start <= 500_000
    assert start + length == len(CONTENT)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", RECORD]
    replies = len(server.served)
    fetch(source(server), tmp_path, quiet)
    assert len(server.served) == replies


def test_progress_counts_all_files_together(server: Server, tmp_path: Path) -> None:
    first = source(server).downloads[0]
    two = Source("two", "home", "none", (first, replace(first, file="b.bin")))
    told: list[int] = []
    fetch(two, tmp_path, told.append)
    assert told == sorted(told)
    assert told[-1] == 2 * len(CONTENT)


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.cut = 500_000
    with pytest.raises(DataError):
        fetch(source(server), tmp_path, quiet)
    server.content, server.tag, server.cut = CONTENT[::-1], '"two"', 0
    fetch(source(server), tmp_path, quiet)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


def test_a_wrong_hash_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has the SHA-256"):
        fetch(source(server, sha256="0" * 64), tmp_path, quiet)
    assert not (tmp_path / "a.bin").exists()


def test_the_first_downloads_hash_is_kept(server: Server, tmp_path: Path) -> None:
    fetch(source(server), tmp_path, quiet)
    (tmp_path / "a.bin").unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(DataError, match="the publisher has changed it"):
        fetch(source(server), tmp_path, quiet)


def test_a_zip_is_unpacked_once(server: Server, tmp_path: Path) -> None:
    def packed(name: str) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(name, "text")
        return out.getvalue()

    server.content = packed("val2014/a.txt")
    fetch(source(server, unpack=True), tmp_path, quiet)
    assert (tmp_path / "val2014" / "a.txt").read_text() == "text"
    assert not (tmp_path / "a.bin").exists()
    fetch(source(server, unpack=True), tmp_path, quiet)
    assert len(server.served) == 1
    server.content = packed("../a.txt")
    with pytest.raises(DataError, match="leads out of its folder"):
        fetch(source(server, unpack=True), tmp_path / "other", quiet)
    assert not (tmp_path / "a.txt").exists()
    server.content = b"no zip"
    with pytest.raises(DataError, match="no zip file"):
        fetch(source(server, unpack=True), tmp_path / "third", quiet)


def test_what_cannot_be_had(server: Server, tmp_path: Path) -> None:
    missing = f"http://127.0.0.1:{server.server_port}/missing"
    with pytest.raises(DataError, match="could not be fetched"):
        fetch(source(server, url=missing), tmp_path, quiet)
    with pytest.raises(DataError, match="could not be fetched"):
        fetch(source(server, url="http://127.0.0.1:1/a"), tmp_path, quiet)
    (tmp_path / RECORD).write_text("[")
    with pytest.raises(DataError, match="is damaged"):
        fetch(source(server), tmp_path, quiet)


def test_files_that_came_by_hand(tmp_path: Path) -> None:
    (tmp_path / "vqa").mkdir()
    (tmp_path / "vqa" / "vqa_eval.json").write_text("[]")
    assert verify(SOURCES["mmedit"], tmp_path) == {"vqa/vqa_eval.json": False}
    known = Source("a", "", "", known=(("x", hashlib.sha256(b"[]").hexdigest()),))
    (tmp_path / "x").write_text("[]")
    assert verify(known, tmp_path) == {"x": True}
    json.dumps(verify(known, tmp_path))


def test_an_unpacked_folder_is_compared_with_its_commit(tmp_path: Path) -> None:
    folder = tmp_path / "set-1"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "one.txt").write_text("one\n")
    (folder / "a.txt").write_text("two\n")  # git sorts the folder "a" as "a/", after this
    git = ["git", "-C", str(folder)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    ran = subprocess.run([*git, "write-tree"], check=True, capture_output=True, text=True)
    shutil.rmtree(folder / ".git")
    assert git_tree(folder).hex() == ran.stdout.strip()
    source = Source("set", "", "", (Download("set-1.zip", "", 1),), tree=ran.stdout.strip())
    assert same_tree(source, tmp_path) is True
    (folder / "a.txt").write_text("2\n")
    assert same_tree(source, tmp_path) is False
    assert same_tree(replace(source, tree=""), tmp_path) is None


def commit_of(name: str) -> str:
    return Path(SOURCES[name].downloads[0].file).stem.rpartition("-")[2]


def test_sets_of_photographs_are_fetched_at_a_pinned_commit() -> None:
    for name in ("grocery", "clothes"):
        (item,) = SOURCES[name].downloads
        assert len(commit_of(name)) == len(SOURCES[name].tree) == 40
        assert item.url.endswith(f"/archive/{commit_of(name)}.zip")
    assert commit_of("grocery") == photos_build.COMMIT
