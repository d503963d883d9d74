"""MEND's training: it learns, and a kill at any moment changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import rounding
import tiny
from balancedit.bench.mend_settings import NETWORK, PRESETS, UNTRAINED, MendTraining, split
from balancedit.bench.mend_state import STATE
from balancedit.bench.mend_training import MendTrainer
from balancedit.bench.mend_validation import compare
from balancedit.errors import InputError, ResultsError
from balancedit.files.journal import Journal
from balancedit.methods.mend_network import TrainedFor, load_network
from closeness import LEARNED, assert_alike, assert_near

SAMPLES = [tiny.sample(n, ("ab", "cd")[n % 2]) for n in range(1, 15)]
TRAINING, VALIDATION = SAMPLES[:10], SAMPLES[10:]
CONFIG = MendTraining(rank=16, lr=1e-3, lr_lr=1e-3, accumulate=5, steps=8, check=4)


class Killed(BaseException):
    """Stands for the end of the process."""


def trainer(
    directory: Path, config: MendTraining = CONFIG, kill_at: int | None = None
) -> MendTrainer:
    calls = 0

    def advance(_: str) -> None:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            raise Killed

    journal = Journal(directory, config.lasting(), {})
    return MendTrainer(tiny.load("llava"), TRAINING, VALIDATION, config, journal, advance)


def test_the_trained_network_beats_the_untrained_one(tmp_path: Path) -> None:
    config = replace(CONFIG, lr=3e-3, lr_lr=3e-3, keep=0.1, steps=60, check=20)
    made = trainer(tmp_path, config)
    parameters = list(made._loaded.model.parameters())
    assert made.remaining() == len(SAMPLES) + 60
    best = made.run()
    assert best in (20, 40, 60)
    assert all(p.grad is None and p.requires_grad for p in parameters), "the model is not trained"
    rows = [r for r in made._journal.rows() if r["of"] == "validation"]
    assert [r["step"] for r in rows] == [0, 20, 40, 60]
    loss = {r["step"]: r["total"] for r in rows}
    assert loss[best] == min(loss.values()) < loss[0]

    loaded = made._loaded
    about = TrainedFor("t", loaded.fingerprint(), loaded.layer, "d", "0", best, config.lasting())
    networks = {"untrained": tmp_path / UNTRAINED, "trained": tmp_path / NETWORK}
    made.save_untrained(networks["untrained"], about)
    made.save(networks["trained"], about)
    assert load_network(networks["trained"])[1] == about
    identity, probed = {"model": "t", "data": "d"}, VALIDATION[:2]
    counted: list[Any] = []
    report = compare(
        loaded, networks, probed, tmp_path / "v", identity, counted.append, counted.append
    )
    assert counted[0] == len(counted) - 1 == 3 * len(probed)
    figures = {line.method: line.figures for line in report.lines}
    assert figures["trained"]["T-Gen"].mean > figures["untrained"]["T-Gen"].mean
    again: list[Any] = []
    compare(loaded, networks, probed, tmp_path / "v", identity, again.append, again.append)
    assert again == [0], "nothing is probed twice"


@pytest.mark.kernels
@pytest.mark.parametrize("kill_at", [3, 15, 18, 19, 21])
def test_a_killed_run_ends_where_it_would_have_ended(tmp_path: Path, kill_at: int) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run()
    with pytest.raises(Killed):
        trainer(tmp_path / "parts", kill_at=kill_at).run()
    parts = trainer(tmp_path / "parts")
    assert parts.run() == parts._progress.best_step == whole._progress.best_step
    assert parts._journal.rows() == whole._journal.rows()
    for name, t in whole.network.state_dict().items():
        assert torch.equal(parts.network.state_dict()[name], t), name
        assert torch.equal(parts._best[name], whole._best[name]), name


@pytest.mark.kernels
def test_a_run_goes_on_on_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run()
    with pytest.raises(Killed):
        trainer(tmp_path / "parts", kill_at=19).run()
    monkeypatch.setattr(torch.nn.functional, "linear", rounding.by_rows)
    parts = trainer(tmp_path / "parts")
    assert parts.run() == whole._progress.best_step
    assert_alike(parts._journal.rows(), whole._journal.rows())
    assert_near(parts.network.lr, whole.network.lr, LEARNED)


def test_a_finished_run_can_be_prolonged_but_not_altered(tmp_path: Path) -> None:
    trainer(tmp_path).run()
    state = (tmp_path / STATE).read_bytes()
    finished = trainer(tmp_path, kill_at=1)
    assert finished.finished
    finished.run()
    assert (tmp_path / STATE).read_bytes() == state
    longer = trainer(tmp_path, replace(CONFIG, steps=12))
    assert not longer.finished
    longer.run()
    whole = trainer(tmp_path / "whole", replace(CONFIG, steps=12))
    whole.run()
    assert longer._journal.rows() == whole._journal.rows()
    with pytest.raises(ResultsError, match="another run"):
        trainer(tmp_path, replace(CONFIG, lr=0.5))


def test_it_stops_when_validation_no_longer_gains(tmp_path: Path) -> None:
    config = replace(CONFIG, lr=1e-12, lr_lr=1e-12, steps=90, check=1, patience=3)
    made = trainer(tmp_path, config)
    made.run()
    assert made._progress.step == made._progress.best_step + 3 < 90


def test_a_damaged_state_is_said(tmp_path: Path) -> None:
    trainer(tmp_path).run()
    (tmp_path / STATE).write_bytes(b"damaged")
    with pytest.raises(ResultsError, match=r"state\.safetensors' is damaged"):
        trainer(tmp_path)


def test_validation_shares_no_thing_with_training() -> None:
    samples = [replace(s, shows=f"thing {i % 5}") for i, s in enumerate(SAMPLES)]
    training, validation = split(samples, 3)
    assert validation == samples[-3:]
    assert {s.shows for s in validation} == {"thing 1", "thing 2", "thing 3"}
    assert {s.shows for s in training} == {"thing 0", "thing 4"}
    with pytest.raises(InputError, match="14 validation edits cannot be held out of 14"):
        split(samples, 14)
    with pytest.raises(InputError, match="hold out fewer"):
        split(samples, 9)


@pytest.mark.parametrize(("name", "value"), [("rank", 0), ("lr", 0.0), ("clip", -1), ("keep", -1)])
def test_wrong_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}"):
        MendTraining(**{name: value})


def test_the_sources_settings() -> None:
    paper = PRESETS["paper"]
    assert (paper.rank, paper.edit_lr, paper.lr, paper.lr_lr) == (1920, 1e-4, 1e-6, 1e-4)
    assert (paper.reach, paper.keep, paper.clip) == (0.1, 1.0, 100.0)
    assert PRESETS["recommended"].rank == 128
