"""The file of keys, and the commands that change it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from balancedit.cli.main import main
from balancedit.errors import InputError, KeyFileError
from balancedit.serving.http.keyfile import KeyFile
from balancedit.serving.http.keys import HeldKeys, Rings, matching


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "below" / "keys.json"


def test_a_key_is_found_by_what_its_owner_shows_and_not_kept(path: Path) -> None:
    file = KeyFile(path)
    assert file.keys() == ()
    secret, made = file.add("me", "edit", "acme")
    assert secret.startswith("bk_")
    assert len(secret) == 46
    assert file.find(secret) == made == KeyFile(path).by_id(made.id)
    assert file.find(secret[:-1]) is None
    assert secret not in path.read_text()
    assert secret[3:] not in path.read_text()


def test_only_its_owner_can_read_it(path: Path) -> None:
    former = os.umask(0)
    try:
        KeyFile(path).add("me")
        KeyFile(path).add("you")
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {found.name for found in path.parent.iterdir()} <= {"keys.json", "keys.json.lock"}


def test_a_running_server_sees_what_changes(path: Path) -> None:
    running, elsewhere = KeyFile(path), KeyFile(path)
    assert running.keys() == ()
    secret, made = elsewhere.add("me")
    assert running.find(secret) == made
    assert elsewhere.remove(made.id[:5]) == made
    assert running.find(secret) is None
    elsewhere.add("you")
    path.unlink()
    assert running.keys() == ()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "keys": []}',
        '{"format": 1, "keys": [{}]}',
        '{"format": 1, "keys": 5}',
        json.dumps(
            {
                "format": 1,
                "keys": [
                    dict(id="a", name="b", sha256="c" * 64, scope="root", tenant="*", created="d")
                ],
            }
        ),
        json.dumps(
            {
                "format": 1,
                "keys": [dict(id="a", name="b", sha256="", scope="ask", tenant="*", created="d")],
            }
        ),
        "[" * 100_000,
    ],
)
def test_a_damaged_file_lets_nobody_in(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(KeyFileError, match="keys"):
        KeyFile(path).find("bk_x")


def test_a_write_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeyFile(path)
    secret, made = file.add("me")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(KeyFileError, match="No space"):
            file.add("you")
    assert KeyFile(path).keys() == (made,)
    assert file.find(secret) == made
    assert {found.name for found in path.parent.iterdir()} <= {"keys.json", "keys.json.lock"}


@pytest.mark.parametrize(
    ("scope", "tenant", "name"),
    [
        ("root", "*", "a"),
        ("ask", "A", "a"),
        ("ask", "base", "a"),
        ("ask", "a/b", "a"),
        ("ask", "*", "\n"),
    ],
)
def test_wrong_keys_are_not_made(path: Path, scope: str, tenant: str, name: str) -> None:
    with pytest.raises(InputError):
        KeyFile(path).add(name, scope, tenant)
    assert not path.exists()


def test_only_one_key_is_removed(path: Path) -> None:
    file = KeyFile(path)
    file.add("me")
    file.add("you")
    for beginning in ("", "zz"):
        with pytest.raises(InputError):
            file.remove(beginning)
    assert len(file.keys()) == 2


def test_rings_together_know_the_keys_of_each(path: Path) -> None:
    file = KeyFile(path)
    secret, made = file.add("me")
    other = KeyFile(path.with_name("other.json"))
    second, held = other.add("you")
    rings = Rings(HeldKeys(held), file)
    assert rings.find(secret) == made
    assert rings.find(second) == held
    assert rings.by_id(made.id) == made
    assert rings.find("bk_") is None


def test_every_key_is_compared(path: Path) -> None:
    """However early the right one stands."""
    file = KeyFile(path)
    secret, made = file.add("first")
    seen = []

    class Counting:
        def __init__(self, key: object) -> None:
            self.key = key

        @property
        def sha256(self) -> str:
            seen.append(self.key)
            return self.key.sha256  # type: ignore[attr-defined, no-any-return]

    keys = [Counting(made), *(Counting(file.add(str(i))[1]) for i in range(3))]
    assert matching(secret, keys) is keys[0]  # type: ignore[arg-type]
    assert len(seen) == 4


def test_the_commands(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--keys", str(path)]
    assert main(["serve", "keys", "add", "me", "--scope", "edit", *place]) == 0
    secret = capsys.readouterr().out.strip()
    (made,) = KeyFile(path).keys()
    assert KeyFile(path).find(secret) == made
    assert main(["serve", "keys", "list", *place]) == 0
    listed = capsys.readouterr().out
    assert made.id in listed
    assert secret not in listed
    assert made.sha256 not in listed
    assert main(["serve", "keys", "list", "--json", *place]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["keys"]
    assert shown["scope"] == "edit"
    assert "sha256" not in shown
    assert main(["serve", "keys", "remove", made.id, *place]) == 0
    assert KeyFile(path).keys() == ()
    assert main(["serve", "keys", "remove", made.id, *place]) == 1
    assert "no keys" in capsys.readouterr().err


def test_beyond_this_machine_nothing_is_served_without_keys(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        assert main(["serve", "--host", host, "--keys", str(path)]) == 1
        assert "serve keys add" in capsys.readouterr().err
