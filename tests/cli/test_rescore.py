"""`balancedit bench rescore`: outputs scored again, of the data they are about."""

from __future__ import annotations

from pathlib import Path

from balancedit.data import pocket
from balancedit.files.journal import Journal, read_rows

IDENTITY = {"data": "okedit-pocket", "part": "edit-eval", "protocol": "generate"}


def test_results_are_scored_again(run, tmp_path: Path) -> None:
    sample = pocket.load("edit-eval")[0]
    n = 1 + len(sample.rephrases) + len(sample.image_rephrases) + len(sample.locality)
    journal = Journal(tmp_path, IDENTITY | {"digest": pocket.DIGESTS["edit-eval"]}, {})
    row = {"held": 0, "sample": sample.id, "category": "animal", "kind": sample.kind, "scores": {}}
    journal.append(row | {"method": "base", "outputs": ["?"] * n})
    row = row | {"held": 1, "method": "ft", "outputs": [sample.target] + ["?"] * (n - 1)}
    journal.append(row)
    assert run("bench", "rescore", "--out", tmp_path, "--json").json == {"changed": 2}
    scores = list(read_rows(tmp_path))[1]["scores"]
    assert (scores["Acc"], scores["T-Gen"], scores["Loc"]) == (1, 0, 1)


def test_other_data_are_refused(run, tmp_path: Path) -> None:
    Journal(tmp_path, IDENTITY | {"digest": "another"}, {})
    ran = run("bench", "rescore", "--out", tmp_path)
    assert ran.code == 1
    assert "--data" in ran.error
    assert "bench run" in run("bench", "rescore", "--out", tmp_path / "none").error
