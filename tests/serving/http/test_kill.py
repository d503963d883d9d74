"""A server that is killed at any moment has every edit that it acknowledged, and a request that is
sent again until it is acknowledged makes one edit."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from balancedit.serving.http import running
from balancedit.serving.http.app import create_app
from balancedit.serving.http.keys import HeldKeys
from balancedit.serving.http.services import Services
from balancedit.serving.http.settings import ServeSettings
from balancedit.store import DiskStore
from serving.editors import FakeEditor
from serving.fakes import FakeEngine
from serving.http.conftest import bearer, data_url, key
from store_cases import BINDING

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

ROUNDS = 12
SETTINGS = ServeSettings(port=0, rate=1e6, burst=1e6)
PICTURE = data_url()


def served(listening: socket.socket, root: Path) -> int:
    """A forked process that serves the store at `root`; its id."""
    child = os.fork()
    if child:
        listening.close()
        return child
    try:
        signal.alarm(60)
        editor = FakeEditor(DiskStore.open(root, BINDING))
        app = create_app(Services(FakeEngine(editor=editor), HeldKeys(key("editor")), SETTINGS))
        asyncio.run(running.Server(app, SETTINGS).serve([listening]))
    finally:
        os._exit(1)


def taught(port: int, number: int) -> dict[str, Any] | None:
    """Ask for the edit of a number, under that name; None where nothing acknowledged it."""
    body = {"image": PICTURE, "question": f"number {number}?", "answer": "owl"}
    headers = bearer("editor") | {
        "Content-Type": "application/json",
        "Idempotency-Key": f"request-{number}",
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v1/edits", json.dumps(body), headers)
        reply = connection.getresponse()
        found = json.loads(reply.read())
        assert reply.status == 201, found
        return dict(found["edit"])
    except (OSError, http.client.HTTPException):
        return None  # the server is not there yet, or no more
    finally:
        connection.close()


def test_a_server_killed_at_any_moment_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    root = tmp_path / "edits"
    DiskStore.open(root, BINDING, create=True).close()
    acknowledged: dict[int, str] = {}
    for turn in range(ROUNDS):
        listening = running.bound("127.0.0.1", 0)
        port = listening.getsockname()[1]
        child = served(listening, root)
        killed = threading.Event()

        def kill(child: int = child, killed: threading.Event = killed) -> None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed.set()

        timer = None
        while not killed.is_set():
            number = len(acknowledged)
            edit = taught(port, number)
            if edit is None:
                killed.wait(0.01)
                continue
            acknowledged[number] = edit["id"]
            if timer is None:  # from the first one on, so that each round meets it at work
                timer = threading.Timer(0.003 + 0.0037 * turn, kill)
                timer.start()
        assert timer is not None
        timer.join()
    with DiskStore.open(root) as store:
        edits, lines = store.edits(), store.audit(10_000)
        assert store.damaged(edits) == []
        assert store.version == len(edits) == len(lines)
    made = {edit.question: edit.id for edit in edits.values()}
    assert len(made) == len(edits), "none was made twice"
    assert len(edits) - len(acknowledged) in (0, 1), "but for what was under way at the end"
    for number, edit_id in acknowledged.items():
        assert made[f"number {number}?"] == edit_id
    assert {line.edit for line in lines} == set(edits)
    assert len(acknowledged) >= ROUNDS
