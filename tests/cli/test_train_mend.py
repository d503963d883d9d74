"""`balancedit bench train-mend`: from nothing to a network that edits."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from balancedit.data.catalogue import DATA_SETS, DataSet
from balancedit.data.sample import EditSample


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--preset", "papr"], "nearest: paper"),
        (["--data", "okedit-pokcet"], "nearest: okedit-pocket"),
        (["--part", "edit-trein"], "nearest: edit-train"),
        (["--n", "0"], "--n must be"),
        (["--n", "10", "--validation", "10"], "10 validation edits"),
        (["--validation", "4", "--probed", "5"], "--probed is 5"),
        (["--steps", "0"], "steps is 0"),
        (["--lr", "0"], "lr is 0"),
    ],
)
def test_wrong_arguments(run, tmp_path: Path, args: list[str], said: str) -> None:
    ran = run("bench", "train-mend", *args, "--out", "out")
    assert (ran.code, said in ran.error) == (1, True), ran.err
    assert not Path("out").exists()


def test_train_then_edit(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(part: str) -> list[EditSample]:
        return [tiny.sample(n, ("ab", "cd")[n % 2]) for n in range(8)]

    monkeypatch.setitem(
        DATA_SETS, "tiny", DataSet("tiny", "", ("all",), load, load, lambda part: "0")
    )
    model, processor = tiny.llava()
    model.save_pretrained("model")
    processor.save_pretrained("model")
    tiny.picture(1).save("a.png")
    on = ["--model", "model", "--layer", tiny.LLAVA_LAYER]

    refused = run("ask", "a.png", "what?", *on, "--method", "mend").error
    assert f"train-mend --model model --layer {tiny.LLAVA_LAYER} --out DIR" in refused

    train = ["bench", "train-mend", *on, "--data", "tiny", "--part", "all", "--out", "out"]
    train += ["--validation", "2", "--probed", "1", "--steps", "4", "--check", "2", "--rank", "4"]
    told = run(*train, "--json").json
    assert told["network"] == "out/mend.safetensors"
    assert {line["method"] for line in told["validation"]["lines"]} == {
        "base",
        "untrained",
        "trained",
    }
    assert "the best on the held-out edits" in run(*train).out
    assert "another run" in run(*train, "--seed", "1").error

    edit = run(
        "edit", "a.png", "what?", "ab", *on, "--method", "mend", "--network", "out/mend.safetensors"
    )
    assert "every prompt is reached" in edit.out
    assert "no option 'network'" in run("ask", "a.png", "what?", *on, "--network", "a").error
