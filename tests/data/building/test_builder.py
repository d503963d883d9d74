"""A build against an endpoint that replays written replies: complete, resumed, never paid twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import replay

from balancedit.data.building import facts as reading
from balancedit.data.building.builder import Builder
from balancedit.data.building.models import (
    Endpoint,
    EndpointPainter,
    EndpointWriter,
    Patience,
)
from balancedit.data.building.plan import Outcome, Plan
from balancedit.data.catalogue import find
from balancedit.data.check import check
from balancedit.data.problems import stop
from balancedit.errors import DataError

HASTE = Patience(tries=3, first_wait=0.01, longest_wait=0.02, timeout=5)
SECRET = "sk-not-to-be-seen-anywhere"


def builder(okvqa: Path, out: Path, n: int = 20, **plan: Any) -> Builder:
    facts, sha256 = reading.read(okvqa, stop)
    settings = Plan(**({"images": 2, "concurrency": 2} | plan))
    about = {"sha256": sha256, "licence": "test"}
    return Builder(facts[:n], out, settings, about, ("replay", "paint"))


def run(made: Builder, endpoint: replay.Endpoint, patience: Patience = HASTE) -> Outcome:
    server = Endpoint(endpoint.url, patience=patience)
    writer, painter = EndpointWriter("replay", server), EndpointPainter("paint", server)
    return made.run(writer, painter, lambda _: None)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "build" / "rows.jsonl").read_text().splitlines()]


def test_twenty_facts(okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = run(builder(okvqa, out), endpoint)
    assert len(outcome.complete) == 18
    assert set(outcome.set_aside) == {"1007", "1013"}
    assert outcome.set_aside["1013"] == (
        "counterfactual: 3 replies rejected, the last: 'HP' is the true answer"
    )
    assert "1 of 10 rephrasings" in outcome.set_aside["1007"]

    samples = find(str(out)).load("eval")
    assert len(samples) == 18
    (sample,) = [s for s in samples if s.id == "1008"]
    assert (sample.target, sample.original_answer) == ("lenovo", "hp")
    assert (len(sample.rephrases), len(sample.image_rephrases)) == (10, 2)
    assert sample.kind == "text based"
    assert sample.shows == "an hp laptop on a desk"
    assert (sample.locality[0].answer, sample.locality[0].shows) == ("dell", "a dell laptop")
    assert sample.locality[0].image is not None
    assert sample.locality[0].image.open().getpixel((0, 0)) == (255, 255, 255)
    _, parts = check(None, out)
    assert parts["eval"].problems == []

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"] == 18
    assert manifest["set_aside"] == outcome.set_aside
    assert (manifest["llm"], manifest["image_model"], manifest["seed"]) == ("replay", "paint", 0)
    assert "rephrase" in manifest["prompts"]["rephrases"]
    assert manifest["examples"]["counterfactual"][1] == "[dog]"
    assert manifest["rejected_replies"]["images"] == 1  # the black one
    assert manifest["tokens_in"] == 20 * sum("reply" in row for row in rows(out))
    assert len(list((out / "build" / "rejected").iterdir())) == 2  # and a black locality picture


def test_every_reply_is_kept_with_what_was_asked(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    run(builder(okvqa, tmp_path / "out", n=5), endpoint)
    kept = Counter((r["prompt"], r["seed"]) for r in rows(tmp_path / "out") if "reply" in r)
    asked = Counter((p, s) for path, p, s in endpoint.calls if path.endswith("completions"))
    assert kept == asked
    assert max(kept.values()) == 1


def test_a_second_start_asks_nothing(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    first = run(builder(okvqa, tmp_path / "out"), endpoint)
    before = len(endpoint.calls)
    again = builder(okvqa, tmp_path / "out")
    assert again.estimate().facts == 2
    assert run(again, endpoint) == first
    assert len(endpoint.calls) == before


def test_more_attempts_go_on_with_what_was_set_aside(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    one = run(builder(okvqa, tmp_path / "out", n=7, attempts=1), endpoint)
    assert set(one.set_aside) >= {"1003", "1004", "1006"}
    assert run(builder(okvqa, tmp_path / "out", n=7, attempts=2), endpoint).set_aside == {}


def test_more_facts_of_the_same_source_are_the_same_build(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    run(builder(okvqa, tmp_path / "out", n=2), endpoint)
    before = len(endpoint.calls)
    more = builder(okvqa, tmp_path / "out", n=3)
    assert more.estimate().facts == 1
    assert len(run(more, endpoint).complete) == 3
    assert len({prompt for _, prompt, _ in endpoint.calls[before:] if "computer 0" in prompt}) == 0


def test_another_build_in_the_same_place_is_refused(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    run(builder(okvqa, tmp_path / "out", n=1), endpoint)
    with pytest.raises(DataError, match="holds another build: its seed is 0, not 1"):
        builder(okvqa, tmp_path / "out", n=1, seed=1)


def test_a_picture_that_was_lost_is_painted_again(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    run(builder(okvqa, tmp_path / "out", n=1), endpoint)
    (tmp_path / "out" / "rephrased_images" / "1000" / "1.png").unlink()
    again = builder(okvqa, tmp_path / "out", n=1)
    assert (again.estimate().texts, again.estimate().images) == (0, 1)
    assert run(again, endpoint).set_aside == {}
    assert (tmp_path / "out" / "rephrased_images" / "1000" / "1.png").is_file()


def test_an_endpoint_that_recovers(okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path) -> None:
    """Two failures at most at a time, of three tries: a fact may meet both."""
    for name, statuses in (("a", [429, 500]), ("b", [503, 429])):
        endpoint.statuses = statuses
        assert run(builder(okvqa, tmp_path / name, n=3), endpoint).set_aside == {}


def test_an_endpoint_that_stays_down_sets_facts_aside_until_the_next_start(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    endpoint.always = 503
    outcome = run(builder(okvqa, tmp_path / "out", n=2), endpoint)
    assert set(outcome.set_aside) == {"1000", "1001"}
    assert "no answer after 3 tries (503" in outcome.set_aside["1000"]
    assert find(f"jsonl={tmp_path / 'out'}").read("eval") == []
    endpoint.always = None
    assert run(builder(okvqa, tmp_path / "out", n=2), endpoint).set_aside == {}


def test_an_endpoint_that_is_slow_or_not_there(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    endpoint.delay = 1.0
    hasty = Patience(tries=2, first_wait=0.01, longest_wait=0.02, timeout=0.2)
    outcome = run(builder(okvqa, tmp_path / "out", n=1), endpoint, hasty)
    assert outcome.set_aside["1000"].startswith("the endpoint gave no answer after 2 tries")
    assert "timed out" in outcome.set_aside["1000"]
    nowhere = Endpoint("http://127.0.0.1:1/v1", patience=hasty)
    writer, painter = EndpointWriter("replay", nowhere), EndpointPainter("paint", nowhere)
    outcome = builder(okvqa, tmp_path / "out", n=1).run(writer, painter, lambda _: None)
    assert "Connection error" in outcome.set_aside["1000"]


def test_an_endpoint_that_talks_nonsense(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    endpoint.nonsense = True
    outcome = run(builder(okvqa, tmp_path / "out", n=2), endpoint)
    assert "the reply holds no answer" in outcome.set_aside["1000"]


def test_a_refused_key_ends_the_build(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    endpoint.always = 401
    with pytest.raises(DataError, match="does not accept the key") as raised:
        run(builder(okvqa, tmp_path / "out", n=2), endpoint)
    assert SECRET not in str(raised.value)
    with pytest.raises(DataError, match="has no NO_SUCH_KEY"):
        Endpoint(None, key_name="NO_SUCH_KEY")


def test_a_build_that_ends_does_not_wait_for_other_calls(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    class Broken(EndpointPainter):
        def paint(self, prompt: str, seed: int) -> bytes:
            endpoint.always = 503  # from now on, the other fact's calls wait for a long time
            time.sleep(0.3)
            raise DataError("this painter never paints")

    long = Patience(tries=9, first_wait=100, longest_wait=100, timeout=5)
    server = Endpoint(endpoint.url, patience=long)
    started = time.monotonic()
    with pytest.raises(DataError, match="never paints"):
        builder(okvqa, tmp_path / "out", n=8, concurrency=2).run(
            EndpointWriter("replay", server), Broken("paint", server), lambda _: None
        )
    assert time.monotonic() - started < 20


def test_a_full_disk_ends_the_build_and_a_second_start_goes_on(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path, monkeypatch
) -> None:
    from balancedit.data.building import ledger as module

    written, real = [], module.write_durably

    def full(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) > 3:
            raise OSError(28, "No space left on device")
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_durably", full)
        with pytest.raises(DataError, match=r"No space left on device.*free some disk"):
            run(builder(okvqa, tmp_path / "out", n=4), endpoint)
    assert not (tmp_path / "out" / "eval.jsonl").exists()
    assert run(builder(okvqa, tmp_path / "out", n=4), endpoint).set_aside == {}


def test_killed_at_three_places_and_resumed(
    okvqa: Path, endpoint: replay.Endpoint, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "balancedit", "data", "build-okedit", okvqa, "--out", out]
    command += ["--llm", "replay", "--llm-base-url", endpoint.url, "--images", "2", "--json"]
    command += ["--image-model", "paint", "--image-base-url", endpoint.url, "--concurrency", "2"]
    environment = os.environ | {"OPENAI_API_KEY": SECRET}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            list(map(str, command)), stdout=-1, stderr=-1, text=True, env=environment
        )

    paid: set[tuple[str, int]] = set()
    journal = out / "build" / "rows.jsonl"
    for lines in (12, 70, 130):
        process = start()
        deadline = time.monotonic() + 60
        while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done = journal.read_text().rpartition("\n")[0].splitlines()
        paid = {(r["prompt"], r["seed"]) for r in map(json.loads, done) if "reply" in r}
        before = len(endpoint.calls)
        assert not (out / "eval.jsonl").exists()
    process = start()
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    found = json.loads(printed)
    assert found["complete"] == 18
    later = {(p, s) for path, p, s in endpoint.calls[before:] if path.endswith("completions")}
    assert later
    assert not later & paid
    _, parts = check(None, out)
    assert (len(parts["eval"].contents.samples), parts["eval"].problems) == (18, [])
    assert endpoint.keys == {f"Bearer {SECRET}"}
    told = (
        printed
        + errors
        + "".join(p.read_text(errors="replace") for p in out.rglob("*") if p.is_file())
    )
    assert SECRET not in told
