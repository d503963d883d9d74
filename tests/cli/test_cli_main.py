"""The entry point: speed, exit codes, one-line errors, and what goes to which stream."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

from balancedit.cli import main as entry
from balancedit.errors import StoreError

HEAVY = ("torch", "transformers", "numpy", "PIL", "matplotlib")
COMMANDS = ("demo", "ask", "edit", "explain", "list", "show", "revert", "models", "data", "bench")


def python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("args", [["--help"], *([c, "--help"] for c in COMMANDS), ["models"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from balancedit.cli.main import main; "
        f"code = main({args!r}); "
        f"print([m for m in {HEAVY!r} if m in sys.modules], code, file=sys.stderr)"
    )
    done = python("-c", code)
    assert done.stderr.strip() == "[] 0"
    assert done.stdout


def test_help_is_fast() -> None:
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert python("-m", "balancedit", "--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # 0.2 s of a processor, however busy the machine is; without torch, which alone takes seconds.
    assert min(once() for _ in range(3)) < 0.6


def test_help_names_every_command(run) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert all(f" {name} " in ran.out for name in COMMANDS)
    assert run().out == ran.out


def test_version(run) -> None:
    assert run("--version").out.startswith("balancedit ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["lst"], "list"),
        (["ask", "demo:owl", "what?", "--modle", "pocket"], "--model"),
        (["ask"], "IMAGE"),
        (["ask", "demo:owl"], "QUESTION"),
        (["edit", "demo:owl", "what?"], "ANSWER"),
        (["list", "--preset", "paper"], "--preset"),
        (["revert", "a", "b"], "unexpected"),
    ],
)
def test_wrong_usage_names_the_nearest_and_exits_with_2(run, args, said) -> None:
    ran = run(*args)
    assert ran.code == 2
    assert said in ran.error
    assert "--help" in ran.error
    assert not ran.out


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("balancedit.cli.session.open_store", fail)


def test_our_errors_are_one_line(run, monkeypatch) -> None:
    failing(StoreError("two\nlines; do this"), monkeypatch)
    ran = run("list")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error == "two lines; do this"


def test_errors_with_json_are_an_object_too(run, monkeypatch) -> None:
    failing(StoreError("gone; do this"), monkeypatch)
    ran = run("list", "--json")
    assert ran.code == 1
    assert ran.error == "gone; do this"
    assert ran.json == {"error": "gone; do this", "kind": "StoreError"}


def test_a_bug_says_so_and_debug_shows_where(run, monkeypatch) -> None:
    failing(ZeroDivisionError("oh"), monkeypatch)
    ran = run("list")
    assert ran.code == 1
    assert "bug" in ran.error
    assert "--debug" in ran.error
    debugged = run("list", "--debug")
    assert debugged.code == 1
    assert "Traceback" in debugged.err
    assert not debugged.out


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "edits"), "edits: Permission denied"),
        (MemoryError(), "out of memory"),
    ],
)
def test_the_systems_errors_name_a_remedy(run, monkeypatch, error, said) -> None:
    failing(error, monkeypatch)
    ran = run("list")
    assert ran.code == 1
    assert said in ran.error
    assert "bug" not in ran.error


def test_ctrl_c_is_one_line_and_130(run, monkeypatch) -> None:
    failing(KeyboardInterrupt(), monkeypatch)
    ran = run("list")
    assert ran.code == 130
    assert "interrupted" in ran.error


def test_a_library_that_prints_does_not_spoil_the_json(run, monkeypatch) -> None:
    def chatty(*args: object, **kwargs: object) -> None:
        print("chatter")
        raise StoreError("no")

    monkeypatch.setattr("balancedit.cli.session.open_store", chatty)
    ran = run("list", "--json")
    assert json.loads(ran.out)["error"] == "no"
    assert "chatter" in ran.err


def test_an_argument_after_two_dashes_is_no_flag(run) -> None:
    ran = run("show", "--", "--json")
    assert ran.code == 1
    assert ran.out == ""


@pytest.mark.skipif(os.name == "nt", reason="pipes of a POSIX shell")
def test_a_reader_that_leaves_early_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m balancedit models --json | head -c 0; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_models(run) -> None:
    ran = run("models")
    assert "pocket" in ran.out
    assert "--layer" in ran.out
    (first, *_) = run("models", "--json").json["models"]
    assert first["name"] == "pocket"
    assert first["layer"].endswith("up_proj")
    assert first["description"]


def test_the_entry_point_is_the_packages() -> None:
    assert entry.app.info.name == "balancedit"
