"""The whole way on a real server: asked, logged, previewed, committed, asked again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit.cli.main import main
from balancedit.errors import ServerError
from balancedit.models.loading import load_model
from balancedit.serving.client.client import Client, fact
from balancedit.serving.client.connection import Connection
from balancedit.serving.client.pictures import data_url
from balancedit.serving.engine.editors import Editors, editor_for
from balancedit.serving.engine.worker import Worker
from balancedit.serving.http.keys import HeldKeys
from balancedit.serving.http.services import Services
from balancedit.serving.http.settings import ServeSettings
from balancedit.serving.querylog import QueryLog
from balancedit.serving.querylog.noting import Noting
from balancedit.serving.tenants import Tenants
from serving.http.conftest import SECRETS, key
from serving.http.listening import listening
from tiny import taught
from tiny.taught import QUESTION, REWORDED, SAYS, STRANGE, WHO

SETTINGS: dict[str, Any] = {"lr": 0.5, "steps": 60, "alpha": 0.3}


@dataclass
class There:
    """A server, as an editor's key and as the admin's see it."""

    address: str
    log: QueryLog
    editing: Connection
    admin: Connection

    def ask(self, picture: str, question: str) -> tuple[str, str | None]:
        answer = Client(self.editing).ask([picture], question)
        return answer.text, answer.fired


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    folder = tmp_path_factory.mktemp("served")
    model, processor = taught.model("llava")
    loaded = load_model(model, processor=processor, layer=tiny.LAST["llava"])
    tenants = Tenants(("default", "acme"), folder / "edits")
    with QueryLog.open(folder / "queries.sqlite3") as log:
        worker = Worker(Editors(editor_for(loaded, tenants, **SETTINGS), Noting(log)))
        worker.start()
        services = Services(
            worker,
            HeldKeys(*map(key, SECRETS)),
            ServeSettings(rate=1000, burst=1000),
            model="tiny",
            tenants=tenants.names,
            queries=log,
        )
        try:
            with listening(services) as found:
                keys = [Connection(found.address, SECRETS[who]) for who in ("editor", "admin")]
                yield There(found.address, log, *keys)
        finally:
            worker.stop()


def test_what_was_asked_is_what_a_preview_speaks_of(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    urls = []
    for seed in (1, 2, STRANGE, 11, 12):
        tiny.picture(seed).save(tmp_path / f"{seed}.png")
        urls.append(data_url(tmp_path / f"{seed}.png"))
    asked = [(url, question) for url in urls for question in (QUESTION, WHO)]
    before = [there.ask(*row) for row in asked]
    wanted = fact([urls[0]], QUESTION, "xyz", rephrasings=[REWORDED])
    made = there.editing.post("/v1/edits/preview", wanted).body
    assert (made["considered"], made["undecided"], made["known"]) == (len(asked), 0, False)
    assert made["changed"][0]["before"] == SAYS[QUESTION]
    assert made["changed"][0]["distance"] < 0.1

    # the command line says the same of it
    monkeypatch.setenv("BALANCEDIT_SERVER", there.address)
    monkeypatch.setenv("BALANCEDIT_KEY", SECRETS["editor"])
    command = ["preview", str(tmp_path / "1.png"), QUESTION, "xyz", "--rephrase", REWORDED]
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    of_it = ("question", "before", "after", "fired_before", "query_id")
    assert [[one[name] for name in of_it] for one in said["changed"]] == [
        [one[name] for name in of_it] for one in made["changed"]
    ]
    assert main([*command, "--radius", "0"]) == 0
    assert "would be answered otherwise" in capsys.readouterr().out
    assert main([*command, "--over", "queries.sqlite3"]) == 1
    assert "its own query log" in capsys.readouterr().err

    assert [there.ask(*row) for row in asked] == before, "nothing is in force"
    radius = made["changed"][len(made["changed"]) // 2]["distance"] * 1.0001
    at = f"/v1/edits/preview/{made['preview_id']}/radius"
    moved = there.editing.post(at, {"radius": radius}).body
    assert 0 < moved["changes"] <= made["changes"]
    done = there.editing.post(
        "/v1/edits", {"preview_id": made["preview_id"], "radius": radius}, "once"
    )
    assert done.status == 201
    assert done.body["edit"]["id"] == made["edit"]["id"]
    assert done.body["edit"]["radius"] == radius
    again = there.editing.post(
        "/v1/edits", {"preview_id": made["preview_id"], "radius": radius}, "once"
    )
    assert again.body["edit"]["id"] == made["edit"]["id"]

    after = [there.ask(*row) for row in asked]
    changed = {n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a[1] != b[1]}
    assert {int(c["query_id"]) - 1 for c in moved["changed"]} == changed
    audit = there.admin.get("/v1/audit").body["data"]
    assert [line["action"] for line in audit].count("edit") == 1
    assert "preview" in [line["action"] for line in audit]

    with pytest.raises(ServerError, match="it was committed already") as refused:
        there.editing.post("/v1/edits", {"preview_id": made["preview_id"]}, "twice")
    assert refused.value.status == 412
    there.log.flush()
    listed = there.editing.get("/v1/queries?limit=200").body["data"]
    fired = [one for one in listed if one["fired"] == made["edit"]["id"]]
    assert {one["before"] for one in fired} == {SAYS[QUESTION]}
    assert {one["answer"] for one in fired} == {"xyz"}
