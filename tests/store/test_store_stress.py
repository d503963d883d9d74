"""Three processes edit, revert and ask one store: no torn answer, all agree at the end, and what
was acknowledged is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

import tiny
from balancedit import Editor
from balancedit.store import DiskStore
from store_worker import PICTURES
from tiny import taught
from tiny.taught import QUESTION, REWORDED

PROCESSES = 3
SAYS = {1: "no", taught.STRANGE: taught.ITS_NAME}  # the untouched model


class Worker:
    """A process of `store_worker.py`, whose lines are read while it runs."""

    def __init__(self, *args: str) -> None:
        script = Path(__file__).parents[1] / "store_worker.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, word: str | None) -> list[dict[str, Any]]:
        """What it says up to the line that has this word; to its end for None."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            said = json.loads(line)
            if word is not None and word in said:
                return lines
            lines.append(said)
        assert word is None, "it ended early"
        assert self.process.wait(60) == 0
        return lines

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@pytest.mark.parametrize(
    "seconds",
    [3.0, pytest.param(float(os.environ.get("STRESS_SECONDS", "60")), marks=pytest.mark.slow)],
    ids=["short", "long"],
)
def test_three_processes_at_once(tmp_path: Path, seconds: float) -> None:
    save_file(taught.model("llava")[0].state_dict(), tmp_path / "weights")
    root = tmp_path / "edits"
    args = (str(tmp_path / "weights"), str(root), str(seconds))
    workers = [Worker(*args, str(seed)) for seed in range(PROCESSES)]
    try:
        with ThreadPoolExecutor(PROCESSES) as pool:
            list(pool.map(lambda w: w.until("ready"), workers))
            for worker in workers:
                worker.go_on()
            said = [
                line for lines in pool.map(lambda w: w.until("done"), workers) for line in lines
            ]
            for worker in workers:
                worker.go_on()
            last = list(pool.map(lambda w: w.until(None), workers))
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
    edits = {line["edit"]: line for line in said if "edit" in line}
    reverted = {line["reverted"] for line in said if "reverted" in line}
    answers = [line for line in said if "text" in line]
    assert edits
    assert any(a["fired"] for a in answers)
    for answer in answers:  # what it says is what one edit of that picture teaches, or nobody does
        fired = edits.get(answer["fired"])
        assert (fired is None) == (answer["fired"] is None), answer
        assert answer["text"] == (fired["target"] if fired else SAYS[answer["picture"]]), answer
        assert fired is None or fired["picture"] == answer["picture"], answer
    assert last[0] == last[1] == last[2]
    with DiskStore.open(root) as store:
        kept = store.edits()
        assert edits.keys() == kept.keys()
        assert {i for i, e in kept.items() if e.state == "reverted"} == reverted
        assert store.damaged(i for i in kept if kept[i].state != "reverted") == []
        active = [edits[i]["picture"] for i in store.active()]
    assert len(active) == len(set(active)), "of each fact at most one edit is in force"
    for line in last[0]:
        fired = edits.get(line["fired"])
        assert line["text"] == (fired["target"] if fired else SAYS[line["last"]])
        assert (line["last"] in active) == (fired is not None)
    print(f"{len(edits)} edits, {len(reverted)} reverts, {len(answers)} answers")


assert tuple(SAYS) == PICTURES


def editors(root: Path, n: int) -> list[Editor]:
    """Editors of fresh copies of one model, as processes of their own would have them."""
    made = []
    for _ in range(n):
        model, processor = taught.model("llava")
        settings = {"lr": 0.5, "steps": 60, "alpha": 0.9}
        made.append(
            Editor.load(
                model, processor=processor, layer=tiny.LAST["llava"], edits=root, **settings
            )
        )
    return made


@pytest.mark.parametrize(
    ("words", "reworded"), [(("ab", "xyz"), False), (("ab", "xyz"), True), (("ab", "ab"), False)]
)
def test_the_same_fact_taught_by_two_at_once(
    tmp_path: Path, words: tuple[str, str], reworded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have learned before either stores: the store's order decides."""
    pair = editors(tmp_path, 2)
    together = threading.Barrier(2)
    real = [editor._store.commit for editor in pair]
    for editor, commit in zip(pair, real, strict=True):
        first = [True]

        def late(*args: Any, commit: Any = commit, first: list[bool] = first, **how: Any) -> Any:
            if first.pop() if first else False:
                together.wait(60)
            return commit(*args, **how)

        monkeypatch.setattr(editor._store, "commit", late)
    questions = (QUESTION, REWORDED if reworded else QUESTION)
    with ThreadPoolExecutor(2) as pool:
        made = [
            pool.submit(e.edit, tiny.picture(1), question, word, rephrasings=[QUESTION, REWORDED])
            for e, question, word in zip(pair, questions, words, strict=True)
        ]
        ids = {m.result().id for m in made}
    (active,) = pair[0].edits()
    (retired,) = pair[0].edits(states=("retired",))
    assert ids == {active.id, retired.id}
    assert (active.retires, retired.retired_by) == ((retired.id,), active.id)
    for editor in pair:
        answer = editor.ask(tiny.picture(1), QUESTION)
        assert (answer.fired, answer.text) == (active.id, active.target)
    pair[0].revert(active.id)
    for editor in pair:
        assert editor.ask(tiny.picture(1), QUESTION).fired == retired.id


def test_other_facts_taught_at_once_stand_side_by_side(tmp_path: Path) -> None:
    one, two = editors(tmp_path, 2)
    real = two._store.commit

    def late(*args: Any, **how: Any) -> Any:
        two._store.commit = real
        one.edit(tiny.picture(taught.STRANGE), QUESTION, "ab", rephrasings=[REWORDED])
        one.edit(tiny.picture(1), taught.WHO, "ab", rephrasings=["who is it?"])
        return real(*args, **how)

    two._store.commit = late
    edit = two.edit(tiny.picture(1), QUESTION, "xyz", rephrasings=[REWORDED])
    assert edit.retires == ()
    assert len(one.edits()) == 3
    assert two.ask(tiny.picture(1), QUESTION).fired == edit.id


def test_what_it_meant_to_replace_was_reverted_meanwhile(tmp_path: Path) -> None:
    one, two = editors(tmp_path, 2)
    first = one.edit(tiny.picture(1), QUESTION, "ab", rephrasings=[REWORDED])
    real = two._store.commit

    def late(*args: Any, **how: Any) -> Any:
        two._store.commit = real
        one.revert(first.id)
        return real(*args, **how)

    two._store.commit = late
    edit = two.edit(tiny.picture(1), QUESTION, "xyz", rephrasings=[REWORDED])
    assert edit.retires == ()
    assert list(two._method.active()) == list(one._store.active()) == [edit.id]
