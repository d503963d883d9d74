"""The runner: every edit scored once, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch

import rounding
from balancedit import Editor
from balancedit.bench import report
from balancedit.bench.contenders import Contender, parse_all
from balancedit.bench.protocols import (
    PROTOCOLS,
    SENTENCES,
    Generate,
    Probe,
    named,
    probes,
    scores,
)
from balancedit.bench.runner import BASE, Runner, Settings
from balancedit.data.sample import EditSample
from balancedit.data.vocabulary import Vocabulary
from balancedit.errors import EditFailedError, ImageError
from balancedit.files.journal import Journal
from balancedit.models.prompting import Prompter
from closeness import TIE, assert_alike, least_margin
from tiny import sample


@pytest.fixture
def family() -> str:
    return "llava"


TOKENS = 10  # of an answer: more than what is learned, and few enough to hold no tie


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights know no end."""
    monkeypatch.setattr(Editor, "ask", partialmethod(Editor.ask, max_new_tokens=TOKENS))


SAMPLES = [sample(1, "ab"), sample(2, "cd"), sample(3, "ef")]


class Killed(BaseException):
    """Stands for the end of the process."""


def run(
    directory: Path,
    make_editor: Any,
    held: tuple[int, ...] = (1,),
    stop_after: int | None = None,
    opened: list[Editor] | None = None,
    methods: str = "balancedit",
    protocol: str = "generate",
    samples: list[EditSample] = SAMPLES,
) -> list[dict[str, Any]]:
    """Run methods over the samples, killed after some results; what the journal holds then."""

    def advance(_: str) -> None:
        nonlocal stop_after
        if stop_after is not None:
            stop_after -= 1
            if stop_after == 0:
                raise Killed

    shared = make_editor(steps=20)

    def open_editor(contender: Contender | None, edits: Path | None) -> Editor:
        if contender is None:
            return shared
        given = {"lr": 0.5, "steps": 20, "alpha": 0.9}
        options = contender.options or (given if contender.method == "balancedit" else {"lr": 0.05})
        editor = Editor.on(shared._loaded, edits=edits, method=contender.method, **options)
        if opened is not None:
            opened.append(editor)
        return editor

    journal = Journal(directory, {"data": "three"}, {})
    runner = Runner(
        samples,
        PROTOCOLS[protocol],
        Settings(parse_all(methods), held),
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
        (m, s.id) for s in SAMPLES for m in (BASE, "balancedit")
    ]
    for row in rows:
        assert set(row["scores"]) == {"Acc", "T-Gen", "I-Gen", "Loc", "no-image"}
        assert len(row["outputs"]) == 5
    assert all(r["scores"]["Loc"] == 1 and r["scores"]["Acc"] == 0 for r in rows[::2])
    assert any(r["scores"]["Acc"] == 1 for r in rows[1::2])


@pytest.mark.kernels
@pytest.mark.parametrize("results", [1, 2, 3, 4])
def test_a_killed_run_goes_on_and_scores_nothing_twice(
    make_editor: Any, tmp_path: Path, results: int
) -> None:
    """Rounding apart: where a run is cut decides which pictures are encoded together."""
    whole = run(tmp_path / "whole", make_editor)
    assert len(run(tmp_path / "parts", make_editor, stop_after=results)) == results
    parts = run(tmp_path / "parts", make_editor)
    assert_alike(*([_lasting(r) for r in rows] for rows in (parts, whole)))


@pytest.mark.kernels
def test_a_run_goes_on_on_another_machine(
    make_editor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole", make_editor, held=(1, 3))
    first = run(tmp_path / "parts", make_editor, held=(1, 3), stop_after=8)
    monkeypatch.setattr(torch.nn.functional, "linear", rounding.by_rows)
    parts = run(tmp_path / "parts", make_editor, held=(1, 3))
    assert parts[:8] == first
    assert_alike(*([_lasting(r) for r in rows] for rows in (parts, whole)))


@pytest.mark.kernels
def test_what_these_runs_ask_has_no_ties(make_editor: Any) -> None:
    """Or a run in parts could rightly say something else than one in one."""
    editor = make_editor()
    asked = [probe for made in SAMPLES for probe in probes(made)]
    assert min(least_margin(editor, p.image, p.question, TOKENS) for p in asked) > TIE


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if not k.endswith("_seconds")}


def test_a_sequence_is_probed_after_its_last_edit_and_not_learned_again(
    make_editor: Any, tmp_path: Path
) -> None:
    opened: list[Editor] = []
    run(tmp_path, make_editor, held=(3,), stop_after=4, opened=opened)
    assert len(opened[-1].edits(states=("active", "retired"))) == 3
    first = {e.id for e in opened[-1].edits(states=("active", "retired"))}
    rows = run(tmp_path, make_editor, held=(3,), opened=opened)
    assert {e.id for e in opened[-1].edits(states=("active", "retired"))} == first
    held = [r for r in rows if r["held"] == 3]
    assert [r["sample"] for r in held] == [s.id for s in SAMPLES]
    assert "Loc" not in held[0]["scores"]  # its neighbour is what the second edit is about
    assert "Loc" in held[2]["scores"]


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
    edited = [r for r in rows if r["method"] == "balancedit"]
    assert [r.get("failed") for r in edited] == [None, "the loss became nan", None]


def test_scores_average_by_what_is_measured() -> None:
    asked = [
        Probe("Acc", None, "", "a"),
        Probe("T-Gen", None, "", "a"),
        Probe("T-Gen", None, "", "a"),
        Probe("similar", None, "", "b", "owl"),
        Probe("similar", None, "", "b", "cat"),
    ]
    values = [1.0, 1.0, 0.0, 1.0, 0.0]
    hits = [{p.measures: value} for p, value in zip(asked, values, strict=True)]
    assert scores(asked, hits) == {"Acc": 1.0, "T-Gen": 0.5, "Loc": 0.5}
    assert scores(asked, hits, {"cat"}) == {"Acc": 1.0, "T-Gen": 0.5, "Loc": 1.0}
    assert "Loc" not in scores(asked, hits, {"cat", "owl"})


def test_probes_that_share_the_old_answer_count_apart() -> None:
    asked = [
        Probe("Acc", None, "q", "new"),
        Probe("similar", None, "q", "old"),
        Probe("similar", None, "q", "other"),
        Probe("same-image", None, "r", "old"),
    ]
    before, after = ["old", "old", "other", "old"], ["new", "new", "other", "old"]
    judged = PROTOCOLS["generate"].judged(asked, before, after)
    assert scores(asked, judged) == {"Acc": 1, "Loc": 0.5, "same-answer": 0, "same-image": 1}


def test_probes_come_in_the_order_of_their_measures() -> None:
    measures = [p.measures for p in probes(SAMPLES[0])]
    assert measures == ["Acc", "T-Gen", "I-Gen", "similar", "no-image"]


def test_a_smaller_size_asked_for_later_holds_no_more_than_its_own(
    make_editor: Any, tmp_path: Path
) -> None:
    opened: list[Editor] = []
    run(tmp_path, make_editor, held=(3,), opened=opened)
    run(tmp_path, make_editor, held=(2,), opened=opened)
    assert len(opened[-1].edits(states=("active", "retired"))) == 2


def test_methods_may_join_results_later(make_editor: Any, tmp_path: Path) -> None:
    first = run(tmp_path, make_editor)
    rows = run(tmp_path, make_editor, methods="balancedit,ft")
    assert rows[: len(first)] == first
    assert [r["method"] for r in rows[len(first) :]] == ["ft"] * len(SAMPLES)


def test_teacher_forcing_gives_more_away_than_generation(make_editor: Any, tmp_path: Path) -> None:
    forced = run(tmp_path / "forced", make_editor, protocol="teacher-forced")
    free = run(tmp_path / "free", make_editor)
    for easy, hard in zip(forced, free, strict=True):
        assert easy["scores"]["Acc"] >= hard["scores"]["Acc"]
        assert set(easy["scores"]) == set(hard["scores"]) | {"loc@10"}
        assert len(easy["outputs"][0]["gold"]) == 2  # "ab" without an end token
    assert all(r["scores"]["loc@10"] == 1 for r in forced if r["method"] == BASE)


class Missing:
    """A picture that is not there."""

    def open(self) -> Any:
        raise ImageError("there is no picture 'x.png'")

    def describe(self) -> dict[str, str]:
        return {"file": "x.png"}


@pytest.mark.parametrize("held", [(1,), (3,)])
def test_a_missing_picture_fails_its_edit_alone(
    make_editor: Any, tmp_path: Path, held: tuple[int, ...]
) -> None:
    samples = [SAMPLES[0], replace(SAMPLES[1], image=Missing()), SAMPLES[2]]
    rows = run(tmp_path, make_editor, held=held, samples=samples)
    failed = [(r["method"], r["sample"]) for r in rows if "failed" in r]
    assert failed == [(BASE, "s2"), ("balancedit", "s2")]


def test_questions_that_do_not_fit_the_memory_are_asked_in_smaller_batches(
    make_editor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    outputs = PROTOCOLS["generate"].outputs

    def tight(editor: Editor, asked: Any, batch_size: int) -> Any:
        sizes.append(batch_size)
        if batch_size > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return outputs(editor, asked, batch_size)

    monkeypatch.setattr(PROTOCOLS["generate"], "outputs", tight)
    assert all("failed" not in row for row in run(tmp_path, make_editor))
    assert sizes[:4] == [32, 16, 8, 8]


def test_a_probe_that_the_model_does_not_take_fails_its_sample_alone(
    make_editor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Prompter._from_chat

    def failing(self: Prompter, images: Any, questions: Any) -> Any:
        if any("bad" in question for question in questions):
            raise RuntimeError("not this")
        return real(self, images, questions)

    monkeypatch.setattr(Prompter, "_from_chat", failing)
    samples = [SAMPLES[0], replace(SAMPLES[1], rephrases=("is it bad?",)), SAMPLES[2]]
    for held in ((1,), (3,)):
        out = tmp_path / str(held[0])
        rows = run(out, make_editor, held=held, samples=samples)
        assert [r["sample"] for r in rows if "failed" in r] == ["s2", "s2"]
        assert all("not this" in r["failed"] for r in rows if "failed" in r)
        assert len(rows) == 6
        assert run(out, make_editor, held=held, samples=samples) == rows, "and not again"


def test_a_length_for_every_answer_of_a_run(
    make_editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = Editor.ask

    def ask(self: Editor, *args: Any, **how: Any) -> Any:
        seen.append(how.get("max_new_tokens"))
        return real(self, *args, **how)

    monkeypatch.setattr(Editor, "ask", ask)
    asked = probes(SAMPLES[0])[:2]
    Generate(3).outputs(make_editor(), asked, 4)
    assert seen == [3]


def test_answers_in_the_plain_style_are_judged_by_what_they_give() -> None:
    words = Vocabulary("fruit", {"name": {"apple": (), "pear": (), "plum": ()}}, {})
    asked = [
        Probe("Acc", None, "q", "pear", sort="name", plain=True, vocabulary=words),
        Probe("T-Gen", None, "q", "pear", sort="name", plain=True, vocabulary=words),
        Probe("similar", None, "q", "plum", sort="name", plain=True, vocabulary=words),
        Probe("similar", None, "q", "apple", sort="name", plain=True, vocabulary=words),
    ]
    before = ["This is an apple.", "An apple.", "This is a plum.", "It's an apple."]
    after = ["This is a pear.", "It is not a pear.", "It is a plum.", "This is a pear."]
    judged = PROTOCOLS["generate"].judged(asked, before, after)
    assert judged == [
        {"Acc": 1.0},
        {"T-Gen": 0.0},
        {"similar": 1.0, "similar-text": 0.0},  # the same answer in other words
        {"similar": 0.0, "similar-text": 0.0, "same-answer": 0.0},
    ]
    assert scores(asked, judged)["Loc"] == 0.5
    assert scores(asked, judged)["Loc-text"] == 0.0
    short = [probe._replace(plain=False) for probe in asked]
    judged = PROTOCOLS["generate"].judged(short, before, after)
    assert [*judged[0].values()] == [0.0]  # in the short style a sentence is no answer
    assert judged[2] == {"similar": 0.0}


def test_probes_carry_the_style_and_the_listed_answers() -> None:
    words = Vocabulary("fruit", {"name": {"apple": ()}}, {})
    plain = replace(sample(1, "ab"), style="plain", vocabulary=words, kind="name")
    assert all(p.plain and p.vocabulary is words and p.sort == "name" for p in probes(plain))
    assert not any(p.plain for p in probes(sample(1, "ab")))


def test_the_report_names_the_rule_for_sentences() -> None:
    generate, forced = PROTOCOLS["generate"], PROTOCOLS["teacher-forced"]
    short, plain = sample(1, "ab"), replace(sample(2, "cd"), style="plain")
    assert named(generate, [short]) == {"protocol": "generate"}  # as older results have it
    assert named(generate, [plain])["judged"] == SENTENCES
    assert named(forced, [plain]) == {"protocol": "teacher-forced"}
    lines = report.Report({"model": "m", "data": "d", **named(generate, [plain])}, {}, ())
    assert f"protocol: generate, judged {SENTENCES}" in str(report.as_table(lines).title)
    assert report.as_json(lines)["run"]["judged"] == SENTENCES
