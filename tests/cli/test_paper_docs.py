"""docs/paper.md: every command parses for both backbones, and all of them run on a tiny one."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest
import typer
from typer.main import get_command

import tiny
from balancedit.bench.contenders import parse_all
from balancedit.bench.mend_settings import PRESETS as MEND_PRESETS
from balancedit.cli.main import app
from balancedit.data.catalogue import find
from balancedit.files.journal import read_rows
from balancedit.methods import METHODS, offered

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))
from published import mmedit_records, okedit_files, write_mmedit, write_okedit, write_pictures

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "paper.md").read_text()
LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()
]
BACKBONES = {
    values["PRESET"]: values
    for line in LINES
    if line.startswith("export ")
    for values in [dict(word.split("=", 1) for word in shlex.split(line)[1:])]
}


def commands(values: dict[str, str]) -> Iterator[list[str]]:
    """The page's commands for one backbone, as words."""
    for line in LINES:
        if not line.startswith("export "):
            yield shlex.split(Template(line).substitute(values))


def option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


def parsed(words: list[str]) -> dict[str, Any]:
    """What the command would be called with. Raises a usage error for one that does not parse."""
    if words[0] == "python":
        script = typer.Typer()
        module = importlib.import_module(Path(words[1]).stem)
        script.command()(module.run)
        command, rest = get_command(script), words[2:]
    else:
        command, rest = get_command(app), words[1:]
        while hasattr(command, "commands"):
            command, rest = command.commands[rest[0]], rest[1:]
    return dict(command.make_context(words[0], list(rest)).params)


def test_the_page_is_about_the_papers_backbones() -> None:
    presets = {name for name in offered("balancedit").presets if name.startswith("paper/")}
    assert set(BACKBONES) == presets
    for method in METHODS:
        assert presets <= offered(method).presets.keys(), "one namespace"
    assert presets <= MEND_PRESETS.keys()
    for number in (1, 3, 4, 5, 6, 7):
        assert f"## Table {number}" in PAGE


@pytest.mark.parametrize("preset", sorted(BACKBONES))
def test_every_command_parses(preset: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    values = BACKBONES[preset]
    seen = 0
    for words in commands(values):
        assert parsed(words), words
        methods = option(words, "--methods")
        if methods is not None:
            for network in re.findall(r"network=([^,+]+)", methods):
                Path(network).parent.mkdir(parents=True, exist_ok=True)
                Path(network).touch()
            contenders = parse_all(methods, str(option(words, "--preset")))
            assert {c.preset for c in contenders} == {preset}
            seen += len(contenders)
    assert seen > 20


def test_an_option_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(Exception, match=r"(?i)no such option.*--presett"):
        parsed(["balancedit", "bench", "run", "--presett", "paper"])
    with pytest.raises(Exception, match=r"(?i)no such option.*--modell"):
        parsed(["python", "studies/key_map.py", "--out", "x", "--modell", "pocket"])


def test_the_estimate_is_what_its_command_prints() -> None:
    (shown,) = re.findall(r"\$ python studies/paper_cost\.py\n(.*?)```", PAGE, re.S)
    done = subprocess.run(
        [sys.executable, "studies/paper_cost.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert [x.rstrip() for x in done.stdout.splitlines()][:-1] == shown.splitlines()


@pytest.fixture
def laid_out(tmp_path: Path, monkeypatch: Any) -> Path:
    """A tiny BLIP-2 in ./model, and made-up OKEDIT and MMEDIT in ./data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BALANCEDIT_CACHE", str(tmp_path / "cache"))
    model, processor = tiny.blip2()
    model.save_pretrained("model")
    processor.save_pretrained("model")
    for ending, n in (("", 2), ("_train", 4)):
        annotations, questions = okedit_files(n)
        for i, record in enumerate(annotations["annotations"]):
            record |= {"image_object": f"thing {ending} {i}", "counterfact_answer": "ab"}
        for record in questions["questions"]:
            record["rephrased_questions"] = ["Which brand?", "What make?"]
        write_okedit(Path("data/okedit"), annotations, questions, ending)
    for record in annotations["annotations"]:
        for folder, count in (("rephrased_images", 2), ("locality_images", 1)):
            place = Path("data/okedit", folder, str(record["question_id"]))
            place.mkdir(parents=True)
            for k in range(count):
                (place / f"{k}.png").touch()
    for part, n in (("vqa_eval", 2), ("vqa_train", 4)):
        write_mmedit(Path("data/mmedit"), mmedit_records(n), f"{part}.json")
    for name in ("data/okedit", "data/mmedit"):
        found = find(f"{Path(name).name}={name}")
        for part in found.parts:
            write_pictures(found.read(part))
    return tmp_path


@pytest.mark.slow
def test_all_of_it_runs_on_a_tiny_backbone(laid_out: Path, run: Any) -> None:
    """In order; smaller numbers stand behind the page's, where the last one counts."""
    values = BACKBONES["paper/blip2-opt"] | {"MODEL": "./model", "DTYPE": "float32"}
    few = {
        ("bench", "train-mend"): "--device cpu --validation 1 --probed 1 --steps 2 --check 1 "
        "--rank 4 --accumulate 2",
        ("bench", "run"): "--device cpu --n 2",
    }
    for words in commands(values):
        if words[0] == "python":
            small = [*words[2:], "--device", "cpu", *(["--n", "2"] if "--n" in words else [])]
            module = importlib.import_module(Path(words[1]).stem)
            script = typer.Typer()
            script.command()(module.run)
            get_command(script)(small, standalone_mode=False)
            continue
        if words[1:3] == ["models", "build-minigpt4"]:
            continue
        more = few.get((words[1], words[2]), "").split()
        if "--sequential" in words:
            more += ["--sequential", "1,2"]
        ran = run(*words[1:], *more)
        assert ran.code == 0, (words, ran.err)
    out = Path(values["OUT"])
    for folder, methods in (("okedit", 6), ("mmedit", 6), ("sequence", 6), ("distance", 3)):
        rows = read_rows(out / folder)
        assert len({row["method"] for row in rows}) == methods, folder
        assert not [row for row in rows if "failed" in row], folder
        assert all({"Acc", "T-Gen", "I-Gen", "Loc"} <= row["scores"].keys() for row in rows)
    for figure in ("figures/picture_table", "figures/explained", "figures/key_map"):
        assert (out / f"{figure}.png").stat().st_size > 1000
    assert (out / "alpha/figures/sweep.svg").exists()
