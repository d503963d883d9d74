"""`balancedit serve` as a person starts it: the default model, one command, an edit, a signal."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from balancedit.serving.http.keyfile import KeyFile
from serving.http.conftest import asking


@dataclass
class Served:
    """A server in a process of its own: where it is, the key it made, its process, its log."""

    address: str
    key: str
    process: subprocess.Popen[str]
    log: Path

    def post(self, path: str, body: object, key: str | None = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return httpx2.post(self.address + path, json=body, headers=headers, timeout=60)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "balancedit", "serve", "--port", "0"]
    places = ["--edits", str(tmp_path / "edits"), "--keys", str(tmp_path / "keys.json")]
    with open(log, "w") as errors:
        process = subprocess.Popen(
            [*command, *places], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=tmp_path
        )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(3))
        found = re.fullmatch(
            r"serving pocket at (\S+)  \(Ctrl-C ends it\)\npage  \1/#key=(\S+)\nkey   \2\n", said
        )
        assert found is not None, said + log.read_text()
        yield Served(found[1], found[2], process, log)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def test_one_command_serves_and_one_signal_ends_it(served: Served, tmp_path: Path) -> None:
    from importlib.resources import files

    from balancedit.store import DiskStore

    owl = (files("balancedit") / "assets" / "demo" / "owl.png").read_bytes()
    url = f"data:image/png;base64,{base64.b64encode(owl).decode()}"
    question = asking("What is this?", url)
    assert httpx2.get(f"{served.address}/health/ready").json()["status"] == "ok"

    said = served.post("/v1/chat/completions", question).json()
    assert said["choices"][0]["message"]["content"] == "owl"
    assert said["usage"]["prompt_tokens"] > 10
    fact = {"image": url, "question": "What is this?", "answer": "hedwig", "rephrasings": ["What?"]}
    made = served.post("/v1/edits", fact)
    assert made.status_code == 201, made.text
    edit, version = made.json()["edit"]["id"], made.json()["version"]

    secret, _ = KeyFile(tmp_path / "keys.json").add("me", "ask", "default")
    said = served.post("/v1/chat/completions", question, secret).json()
    assert said["choices"][0]["message"]["content"] == "hedwig"
    assert said["balancedit"]["fired"] == edit
    assert said["balancedit"]["version"] == version
    base = served.post("/v1/chat/completions", question | {"model": "pocket@base"}, secret).json()
    assert base["choices"][0]["message"]["content"] == "owl"
    assert served.post("/v1/edits", fact, secret).status_code == 403

    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0
    with DiskStore.open(tmp_path / "edits", None, create=False) as store:
        assert store.active() == [edit]
    log = served.log.read_text()
    assert all(json.loads(line)["event"] for line in log.splitlines())
    for secret_word in (served.key, secret, "base64", "hedwig", "What is this"):
        assert secret_word not in log
