"""Fixtures of the command line's tests: a tiny model in a directory, and a way to run commands."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from balancedit import Editor
from balancedit.cli.main import main
from balancedit.methods.balancedit import PRESETS


@dataclass(frozen=True)
class Ran:
    """What a command left behind: its exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON object and nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def error(self) -> str:
        """The one line that an error leaves on standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line in this process."""

    def command(*args: object) -> Ran:
        capsys.readouterr()
        code = main([str(a) for a in args])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return command


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random LLaVA in a directory."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    model, processor = tiny.llava()
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture
def on_tiny(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments that choose the tiny model, with settings strong enough for it to learn."""
    monkeypatch.delenv("COLUMNS", raising=False)  # tables as wide as in a pipe, whoever runs this
    strong = dataclasses.replace(PRESETS["recommended"], lr=0.5, steps=60, alpha=0.9)
    monkeypatch.setitem(PRESETS, "recommended", strong)
    return ["--model", str(tiny_model), "--layer", tiny.LLAVA_LAYER]


@pytest.fixture
def shared_pocket(pocket: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command loads its model; in tests that use the default one they share it."""
    from balancedit.editor import load_model

    def load(model: Any, **options: Any) -> Any:
        return pocket._loaded if model == "pocket" else load_model(model, **options)

    monkeypatch.setattr("balancedit.editor.load_model", load)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture file."""
    path = tmp_path / "a.png"
    tiny.picture(1).save(path)
    return path
