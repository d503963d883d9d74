"""What an edit's training may change and what it may not: answers, T-Gen, I-Gen, Loc and HM of
several ways to train the same edits, each held alone, against the first way named.

    python studies/editing_quality.py                          # settings, on edit-train things
    python studies/editing_quality.py --part edit-eval --n 100 # low rank against full
    python studies/editing_quality.py --part edit-eval --n 50 --ways \
        "balancedit+transformation=full+stop=None+training=reference,\
balancedit+transformation=full+stop=None"                         # fast against reference

Every way learns all edits first, none of them in force while others are learned; then each edit is
put in force by itself and its probes are asked. Prompts are read once for all ways. Protocol: free
generation. "steps", "loss" and "bytes" are medians over edits, "loss" also the highest; "same" is
the share of all probes' answers that equal the first way's, word for word.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from balancedit.answering.generate import generate_answers, remembering
from balancedit.bench.contenders import Contender, parse_all
from balancedit.bench.metrics import harmonic_mean
from balancedit.bench.protocols import PAPER_LOCALITY, REACH, Generate, Probe, probes, scores
from balancedit.bench.provenance import provenance
from balancedit.data import pocket
from balancedit.data.sample import EditSample
from balancedit.files.compact import write_lines
from balancedit.layer.prompts import ANSWER_TOKENS
from balancedit.methods import LearnedEdit, Method, configure, make_method
from balancedit.models.loading import LoadedModel, load_model
from balancedit.scope.rephrasing import rephrase
from balancedit.teaching import PreparedFact, prepared, record_of, with_untouched
from balancedit.types import BATCH_SIZE, Fact

WAYS = ",".join(
    [
        "balancedit+transformation=full+stop=None",
        "balancedit+transformation=full+stop=0.01",
        *(
            f"balancedit+transformation=low_rank+stop={stop}+lr={lr}"
            for lr in (0.02, 0.05, 0.1)
            for stop in (None, 0.01)
        ),
    ]
)
MEASURES = ("Acc", "T-Gen", "I-Gen", "Loc")
Learned = list[tuple[PreparedFact, LearnedEdit]]


def learned(loaded: LoadedModel, method: Method, samples: list[EditSample]) -> Learned:
    """Every edit as the method learns it while none is in force."""
    facts = []
    for number, sample in enumerate(samples):
        fact = Fact(
            sample.image.open(), sample.question, sample.target, _rephrasings(loaded, sample)
        )
        facts.append(prepared(loaded, method, number, fact))
    if method.asks_untouched:
        facts = with_untouched(loaded, method, facts)
    outcomes = [o for batch in method.learn_many([f.request for f in facts]) for o in batch]
    return [(f, o) for f, o in zip(facts, outcomes, strict=True) if isinstance(o, LearnedEdit)]


def _rephrasings(loaded: LoadedModel, sample: EditSample) -> list[str]:
    """The backbone's own, as `Editor.edit` has them where none is given; made once for all ways."""
    return list(rephrase(sample.question, 1, loaded.rephraser)[0])


def asked_of(sample: EditSample, quick: bool) -> list[Probe]:
    """An edit's probes; quick: only those that T-Gen, I-Gen and the paper's Loc count."""
    kept = (*REACH, PAPER_LOCALITY)
    return [p for p in probes(sample) if not quick or p.measures in kept]


def texts(loaded: LoadedModel, method: Method, asked: list[Probe], batch: int) -> list[str]:
    """What the model says to each probe."""
    rows = [(p.image, p.question) for p in asked]
    answers = generate_answers(
        loaded, method, rows, max_new_tokens=ANSWER_TOKENS, num_beams=1, batch_size=batch
    )
    return [a.text for a in answers]


@contextmanager
def read_once(loaded: LoadedModel, method: Method) -> Iterator[None]:
    """Inside the context prompts are read once, whichever method asks them."""
    method.routing.attach()
    with remembering(loaded, method):
        method.routing.detach()
        yield


def edited_texts(
    loaded: LoadedModel, method: Method, held: Learned, number: int, asked: list[Probe], batch: int
) -> list[str] | None:
    """What the model says to each probe with one edit in force; None where it was not learned."""
    found = next((pair for pair in held if pair[0].number == number), None)
    if found is None:
        return None
    fact, edit = found
    record = record_of(method.name, fact, edit, "", 0.0)
    method.routing.attach()
    method.add(record, edit.key, edit.tensors)
    try:
        return texts(loaded, method, asked, batch)
    finally:
        method.remove(record.id)
        method.routing.detach()


def run(
    n: Annotated[int, typer.Option(help="Edits, the first of the part.")] = 60,
    part: Annotated[str, typer.Option(help="Part of okedit-pocket.")] = "edit-train",
    ways: Annotated[str, typer.Option(help="Contenders, commas between; the first leads.")] = WAYS,
    quick: Annotated[bool, typer.Option(help="Leave out hard locality.")] = False,
    batch_size: Annotated[int, typer.Option(help="Questions asked together.")] = BATCH_SIZE,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …")] = None,
    out: Annotated[Path | None, typer.Option(help="Write every figure as JSON.")] = None,
) -> None:
    """Learn, ask and compare."""
    loaded = load_model("pocket", device=device)
    samples = pocket.load(part)[:n]
    contenders: tuple[Contender, ...] = parse_all(ways)
    methods = [
        make_method(c.method, configure(c.method, c.preset, c.options), loaded) for c in contenders
    ]
    results: list[dict[str, Any]] = []
    edits: list[Learned] = []
    with loaded.pictures.reused():
        for contender, method in zip(contenders, methods, strict=True):
            method.routing.attach()
            started = time.perf_counter()
            edits.append(learned(loaded, method, samples))
            method.routing.detach()
            own = [e for _, e in edits[-1]]
            results.append(
                {
                    "way": contender.name,
                    "edits": len(own),
                    "seconds an edit": (time.perf_counter() - started) / len(own),
                    "steps": statistics.median(e.steps for e in own),
                    "loss": statistics.median(e.loss for e in own),
                    "highest loss": max(e.loss for e in own),
                    "bytes": statistics.median(
                        sum(t.nbytes for t in e.tensors.values()) for e in own
                    ),
                    "texts": [],
                    "scores": [],
                }
            )
            Console(stderr=True).print(results[-1])
        for number, sample in enumerate(track(samples, "asking", console=Console(stderr=True))):
            asked = asked_of(sample, quick)
            with read_once(loaded, methods[0]):
                before = texts(loaded, methods[0], asked, batch_size)
                for method, held, result in zip(methods, edits, results, strict=True):
                    after = edited_texts(loaded, method, held, number, asked, batch_size)
                    if after is not None:
                        judged = Generate().judged(asked, before, after)
                        result["texts"].append(after)
                        result["scores"].append(scores(asked, judged))
    table = Table(
        "way", "edits", *MEASURES, "HM", "same", "steps", "loss", "highest", "bytes", "s an edit"
    )
    for result in results:
        means = {m: statistics.mean(s[m] for s in result["scores"] if m in s) for m in MEASURES}
        result["means"] = means | {"HM": harmonic_mean([means[m] for m in MEASURES[1:]])}
        pairs = zip(result["texts"], results[0]["texts"], strict=False)
        same = [a == b for mine, first in pairs for a, b in zip(mine, first, strict=True)]
        result["same answers"] = [sum(same), len(same)]
        table.add_row(
            result["way"],
            str(result["edits"]),
            *(f"{100 * v:.1f}" for v in result["means"].values()),
            f"{sum(same)}/{len(same)}",
            f"{result['steps']:g}",
            f"{result['loss']:.4f}",
            f"{result['highest loss']:.4f}",
            f"{result['bytes']:,.0f}",
            f"{result['seconds an edit']:.2f}",
        )
    Console(width=220).print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        found = {"part": part, "n": n, "machine": provenance(loaded), "results": results}
        write_lines(out, found)


if __name__ == "__main__":
    typer.run(run)
