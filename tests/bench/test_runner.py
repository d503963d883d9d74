"""The runner: every edit scored once, whatever happens on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from balancedit import Editor
from balancedit.bench.journal import Journal
from balancedit.bench.protocols import PROTOCOLS, Probe, probes, scores
from balancedit.bench.runner import BASE, Runner, Settings
from balancedit.errors import EditFailedError
from tiny import sample


@pytest.fixture
def family() -> str:
    return "llava"


SAMPLES = [sample(1, "ab"), sample(2, "cd"), sample(3, "ef")]


class Killed(BaseException):
    """Stands for the end of the process."""


def run(
    directory: Path,
    make_editor: Any,
    held: tuple[int, ...] = (1,),
    stop_after: int | None = None,
    opened: list[Editor] | None = None,
) -> list[dict[str, Any]]:
    """Run BalancEdit over the samples, killed after some results; what the journal holds then."""

    def advance(_: str) -> None:
        nonlocal stop_after
        if stop_after is not None:
            stop_after -= 1
            if stop_after == 0:
                raise Killed

    def open_editor(method: str, edits: Path | None) -> Editor:
        editor: Editor = make_editor(method=method, edits=edits, steps=20)
        if opened is not None:
            opened.append(editor)
        return editor

    journal = Journal(directory, {"n": len(SAMPLES)}, {})
    runner = Runner(
        SAMPLES,
        PROTOCOLS["generate"],
        Settings(("balancedit",), held),
        journal,
        open_editor,
        advance,
    )
    try:
        runner.run()
        assert runner.remaining() == 0
    except Killed:
        pass
    return journal.rows()


def test_base_and_every_edit_have_one_line(make_editor: Any, tmp_path: Path) -> None:
    rows = run(tmp_path, make_editor)
    assert [(r["method"], r["sample"]) for r in rows] == [
        (m, s.id) for m in (BASE, "balancedit") for s in SAMPLES
    ]
    for row in rows:
        assert set(row["scores"]) == {"Acc", "T-Gen", "I-Gen", "Loc", "no-image"}
        assert len(row["outputs"]) == 5
    base = rows[: len(SAMPLES)]
    assert all(r["scores"]["Loc"] == 1 and r["scores"]["Acc"] == 0 for r in base)
    assert any(r["scores"]["Acc"] == 1 for r in rows[len(SAMPLES) :])


@pytest.mark.parametrize("results", [1, 3, 4, 5])
def test_a_killed_run_goes_on_and_scores_nothing_twice(
    make_editor: Any, tmp_path: Path, results: int
) -> None:
    whole = run(tmp_path / "whole", make_editor)
    assert len(run(tmp_path / "parts", make_editor, stop_after=results)) == results
    parts = run(tmp_path / "parts", make_editor)
    assert [_lasting(r) for r in parts] == [_lasting(r) for r in whole]


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if not k.endswith("_seconds")}


def test_a_sequence_is_probed_after_its_last_edit_and_not_learned_again(
    make_editor: Any, tmp_path: Path
) -> None:
    opened: list[Editor] = []
    run(tmp_path, make_editor, held=(3,), stop_after=4, opened=opened)
    assert len(opened[-1].list(states=("active", "retired"))) == 3
    first = {e.id for e in opened[-1].list(states=("active", "retired"))}
    rows = run(tmp_path, make_editor, held=(3,), opened=opened)
    assert {e.id for e in opened[-1].list(states=("active", "retired"))} == first
    assert [r["held"] for r in rows] == [0, 0, 0, 3, 3, 3]
    assert "Loc" not in rows[3]["scores"]  # its neighbour is what the second edit is about
    assert "Loc" in rows[5]["scores"]


def test_an_edit_that_fails_is_recorded_and_the_run_goes_on(
    make_editor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Editor.edit

    def fail_once(self: Editor, image: Any, question: str, answer: str, **given: Any) -> Any:
        if answer == "cd":
            raise EditFailedError("the loss became nan")
        return learn(self, image, question, answer, **given)

    monkeypatch.setattr(Editor, "edit", fail_once)
    rows = run(tmp_path, make_editor)
    assert [r.get("failed") for r in rows[3:]] == [None, "the loss became nan", None]


def test_scores_average_by_what_is_measured() -> None:
    asked = [
        Probe("Acc", None, "", None),
        Probe("T-Gen", None, "", None),
        Probe("T-Gen", None, "", None),
        Probe("similar", None, "", "owl"),
        Probe("similar", None, "", "cat"),
    ]
    hits = [1.0, 1.0, 0.0, 1.0, 0.0]
    assert scores(asked, hits) == {"Acc": 1.0, "T-Gen": 0.5, "Loc": 0.5}
    assert scores(asked, hits, {"cat"}) == {"Acc": 1.0, "T-Gen": 0.5, "Loc": 1.0}
    assert "Loc" not in scores(asked, hits, {"cat", "owl"})


def test_probes_come_in_the_order_of_their_measures() -> None:
    measures = [p.measures for p in probes(SAMPLES[0])]
    assert measures == ["Acc", "T-Gen", "I-Gen", "similar", "no-image"]
