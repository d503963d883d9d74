"""The command line at a server: the real application, a real engine, a tiny model."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit import Editor, shapes
from balancedit.cli.main import main
from balancedit.models.loading import LoadedModel
from balancedit.serving.engine.editors import Editors, editor_for
from balancedit.serving.engine.worker import Worker
from balancedit.serving.http.keys import HeldKeys
from balancedit.serving.http.services import Services
from balancedit.serving.http.settings import ServeSettings
from balancedit.serving.tenants import Tenants
from contract import QUESTION
from serving.http.conftest import SECRETS, key
from serving.http.listening import listening

SETTINGS: dict[str, Any] = {
    **{"preset": "paper", "transformation": "low_rank", "key": "mean"},
    **{"lr": 0.5, "steps": 40, "alpha": 0.9},
}
HEAVY = ("torch", "transformers", "numpy", "PIL", "fastapi", "httpx2")


@dataclass
class There:
    """A server: its address, the directory of its edits, and its model."""

    address: str
    edits: Path
    loaded: LoadedModel


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    edits = tmp_path_factory.mktemp("served") / "edits"
    loaded = tiny.load("llava")
    tenants = Tenants(("default", "acme"), edits)
    editors = Editors(editor_for(loaded, tenants, **SETTINGS))
    worker = Worker(editors)
    worker.start()
    services = Services(
        worker,
        HeldKeys(*map(key, SECRETS)),
        ServeSettings(rate=1000, burst=1000),
        model="tiny",
        tenants=tenants.names,
        stored=editors.stored,
    )
    try:
        with listening(services) as found:
            yield There(found.address, edits, loaded)
    finally:
        worker.stop()
    editors.close()


@dataclass
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(
    there: There,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Run:
    """Run one command line at the server, with the editor's key unless another is named."""
    monkeypatch.chdir(tmp_path)
    tiny.picture(1).save("a.png")
    tiny.picture(2).save("b.png")

    def command(*args: object, who: str = "editor", server: str | None = None) -> Ran:
        monkeypatch.setenv("BALANCEDIT_SERVER", there.address if server is None else server)
        monkeypatch.setenv("BALANCEDIT_KEY", SECRETS.get(who, who))
        capsys.readouterr()
        code = main([str(a) for a in args])
        return Ran(code, *capsys.readouterr())

    return command


@pytest.fixture
def edit(run: Run) -> Iterator[dict[str, Any]]:
    """An edit that the server holds while the test lasts."""
    ran = run("edit", "a.png", QUESTION, "ab", "--rephrase", "which is it?", "--json")
    assert ran.code == 0, ran.err
    yield ran.json
    run("revert", ran.json["id"])


def here(there: There) -> Editor:
    """An editor of the server's own model and edits."""
    return Editor.on(there.loaded, edits=there.edits, **SETTINGS)


def test_it_answers_explains_lists_and_shows_as_here(
    run: Run, there: There, edit: dict[str, Any]
) -> None:
    asked = run("ask", "a.png", QUESTION, "--json", "--max-new-tokens", 4).json
    explained = run("explain", "a.png", QUESTION, "--json").json
    listed, shown = run("list", "--json").json, run("show", edit["id"][:6], "--json").json
    editor = here(there)
    answer = editor.ask("a.png", QUESTION, max_new_tokens=4)
    assert answer.fired == edit["id"]
    assert asked == pytest.approx(shapes.asked(QUESTION, answer))
    near = explained.pop("neighbours")
    why = shapes.explained(editor.explain("a.png", QUESTION))
    assert near == [pytest.approx(one) for one in why.pop("neighbours")]
    assert explained == pytest.approx(why)
    (record,) = editor.edits()
    assert edit == json.loads(json.dumps(record.to_dict()))
    assert listed == {"edits": [edit], "damaged": [], "version": editor.version}
    assert shown == edit | {"damaged": None, "store": {"model": "tiny"}}
    editor.close()


def test_people_see_what_they_see_here(run: Run, there: There, edit: dict[str, Any]) -> None:
    rows = {}
    for name, args in {"list": (), "show": (edit["id"],)}.items():
        served = run(name, *args).out.splitlines()
        local = run(name, *args, "--edits", there.edits, server="").out.splitlines()
        rows[name] = (served, local)
    served, local = rows["list"]
    assert served[:-1] == local[:-1]
    assert served[-1].startswith(f"1 active · {there.address} · tiny · version") or (
        "retired or reverted (--all shows them)" in served[-1]
    )
    served, local = rows["show"]
    model = ("model", "layer", "method")
    same = [line for line in local if line.split()[0] not in model]
    assert [line.rstrip() for line in served if line.split()[0] not in model] == [
        line.rstrip() for line in same
    ]
    assert f"edit {edit['id']} fires (distance" in run("ask", "a.png", QUESTION).out
    assert "│" in run("explain", "a.png", QUESTION).out


def test_an_edit_is_made_once_known_and_taken_back(run: Run, there: There) -> None:
    args = ("edit", "b.png", QUESTION, "xyz", "--rephrase", "which is it?", "--negative", "grey")
    made = run(*args)
    assert made.code == 0, made.err
    assert f"Kept in {there.address}. Undo it with: balancedit revert " in made.out
    again = run(*args)
    assert "was there already" in again.out
    found = made.out.split()[1]
    other = run("edit", "b.png", QUESTION, "ab", "--rephrase", "which is it?", "--json").json
    assert other["retires"] == [found]
    back = run("revert", other["id"], "--json").json
    assert (back["id"], back["state"], back["restored"]) == (other["id"], "reverted", [found])
    assert back["active"] == 1
    done = run("revert", found)
    assert "No edit is left: the model is the untouched one" in done.out
    states = [e["state"] for e in run("list", "--all", "--json").json["edits"]]
    assert states[-2:] == ["reverted", "reverted"]
    assert run("list", "--json").json["edits"] == []


def test_pages_are_put_together_oldest_first(
    run: Run, monkeypatch: pytest.MonkeyPatch, edit: dict[str, Any]
) -> None:
    monkeypatch.setattr("balancedit.serving.client.client._PAGE", 1)
    listed = run("list", "--all", "--json").json["edits"]
    assert listed[-1]["id"] == edit["id"]
    assert [e["created"] for e in listed] == sorted(e["created"] for e in listed)


def test_several_pictures_and_none(run: Run, there: There) -> None:
    editor = here(there)
    both = run("ask", "a.png", QUESTION, "--image", "b.png", "--json", "--max-new-tokens", 2).json
    from balancedit import Pictures

    wanted = editor.ask(Pictures("a.png", "b.png"), QUESTION, max_new_tokens=2)
    assert both["answer"] == wanted.text
    alone = run("ask", "none", QUESTION, "--json", "--max-new-tokens", 2).json
    assert alone["answer"] == editor.ask(None, QUESTION, max_new_tokens=2).text
    editor.close()


def test_pictures_of_any_kind_are_the_same_pictures(run: Run, there: There) -> None:
    """What servers read goes as it is; what only this machine may read goes as PNG."""
    tiny.picture(1).save("a.tiff")
    as_png, as_tiff = (
        run("ask", name, QUESTION, "--json", "--max-new-tokens", 2).json
        for name in ("a.png", "a.tiff")
    )
    assert as_png == as_tiff
    assert run("ask", "demo:owl", QUESTION, "--max-new-tokens", 2).code == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("ask", "no-such.png", QUESTION), "there is no file 'no-such.png'"),
        (("ask", "a.png", " "), "the question is empty"),
        (("ask", "none", QUESTION, "--image", "a.png"), "'none' asks without a picture"),
        (("show", "ffffffff"), "ffffffff"),
        (("list", "--edits", "elsewhere"), "--edits is for work done here"),
        (("ask", "a.png", QUESTION, "--preset", "paper"), "--preset is for work done here"),
        (("explain", "a.png", QUESTION, "--max-new-tokens", "4"), "leave --max-new-tokens out"),
        (("preview", "a.png", QUESTION, "ab", "--over", "."), "leave --over out"),
        (("list", "--server", "nonsense"), "is no server's address"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run: Run, args: Any, said: str) -> None:
    ran = run(*args)
    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert said in ran.err
    assert not ran.out
    assert run(*args, "--json").json["error"]


def test_keys_are_asked_for(run: Run) -> None:
    assert "the key is not known here" in run("list", who="bk_wrong").err
    assert "no key was given; " in run("list", who="").err
    assert run("list", who="asker").code == 0
    refused = run("revert", "1f3a", who="asker")
    assert (refused.code, "does not let this key do that" in refused.err) == (1, True)


def test_a_tenant_is_chosen(run: Run, monkeypatch: pytest.MonkeyPatch, edit: Any) -> None:
    assert len(run("list", "--json", who="admin").json["edits"]) == 1
    monkeypatch.setenv("BALANCEDIT_TENANT", "acme")
    assert run("list", "--json", who="admin").json["edits"] == []
    assert run("list", "--json").code == 1


def test_nothing_heavy_is_loaded_and_an_answer_is_quick(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.picture(1).save(tmp_path / "a.png")
    monkeypatch.setenv("BALANCEDIT_KEY", SECRETS["editor"])
    args = ["ask", str(tmp_path / "a.png"), QUESTION, "--server", there.address, "--json"]
    code = (
        "import sys; from balancedit.cli.main import main; "
        f"code = main({[*args, '--max-new-tokens', '1']!r}); "
        f"print([m for m in {HEAVY!r} if m in sys.modules], code, file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr.strip() == "[] 0"
    assert json.loads(done.stdout)["question"] == QUESTION
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 0.6  # seconds of a processor, however busy the machine is
