"""What the serving engine costs beside `Editor.ask`, in one process and without HTTP, and whether
every answer is the one that its version of the edits gives.

    python studies/serving_load.py --out results/pocket/serving-load.json
    python studies/serving_load.py --n 8 --clients 4 --rounds 1 --oracle 8 --overload 0   # a minute

One client asks through the engine and straight from the editor, in turn. Many clients then ask one
question after another, and the same questions are answered by `Editor.ask` in batches; no encoded
picture is kept from one part to the next. The oracle: the same clients ask while every two seconds
an edit lands or is reverted. Afterwards the edits are made and taken back once more, in the same
order, on an editor of its own, and at each version the questions that were answered at it are asked
in batches. An answer that differs is given with its margins: how far the likeliest token is ahead
of the next, where that is least, and how far the question lies from the edge of the radius.
Overload: several times as many clients as may wait, each with a deadline.
"""

from __future__ import annotations

import asyncio
import platform
import random
import resource
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from PIL import Image
from rich.console import Console

import balancedit
from balancedit import Editor
from balancedit.data import pocket
from balancedit.files.compact import write_lines
from balancedit.inputs.conversation import Conversation
from balancedit.models.loading import LoadedModel, load_model
from balancedit.serving.engine.batcher import Limits
from balancedit.serving.engine.editors import Editors
from balancedit.serving.engine.protocol import (
    DEFAULT_TENANT,
    Answered,
    Ask,
    DeadlinePassed,
    Overloaded,
    Turn,
)
from balancedit.serving.engine.worker import Worker
from balancedit.store import HeldEdit
from balancedit.types import Answer, Fact, FailedEdit

BATCH = Limits().batch
NEAR_TIE = 1e-3  # of logits, and of a distance as a share of the radius: rounding may turn it over


@dataclass(frozen=True)
class Query:
    """One question about one picture."""

    image: Image.Image
    question: str

    @property
    def ask(self) -> Ask:
        """It, put to the engine."""
        return Ask(Conversation.about(self.image, self.question))


@dataclass
class Log:
    """What the engine did."""

    sizes: Counter[int] = field(default_factory=Counter)

    def __call__(self, turn: Turn) -> None:
        if turn.kind == "answers":
            self.sizes[turn.size] += 1


def queries(samples: Sequence[Any]) -> list[Query]:
    """Each sample's own question, a rewording, another picture, and one it must leave alone."""
    made = []
    for sample in samples:
        own, other = sample.image.open(), sample.image_rephrases[0].open()
        probe = next(p for p in sample.locality if p.image is not None)
        made += [
            Query(own, sample.question),
            Query(own, sample.rephrases[0]),
            Query(other, sample.question),
            Query(probe.image.open(), probe.question),
        ]
    return made


def fact(sample: Any) -> Fact:
    """A sample's edit, its picture open."""
    return Fact(sample.image.open(), sample.question, sample.target, sample.rephrases[:1])


def share(values: Sequence[float], part: float) -> float:
    """The value that this part of all is at most."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def seconds(values: Sequence[float]) -> dict[str, float]:
    """Times in a few numbers."""
    return {"p50": statistics.median(values), "p99": share(values, 0.99), "most": max(values)}


# -- speed ----------------------------------------------------------------------------------------


async def one_client(
    engine: Worker, editor: Editor, asked: Sequence[Query], rounds: int
) -> dict[str, Any]:
    """The same questions through the engine and straight, in turn."""
    through, straight = [], []
    for turn in range(rounds + 1):
        for query in asked:
            editor._loaded.pictures.forget()
            started = time.perf_counter()
            await engine.ask(query.ask)
            between = time.perf_counter()
            editor._loaded.pictures.forget()
            again = time.perf_counter()
            editor.ask(query.image, query.question)
            ended = time.perf_counter()
            if turn:  # the first is the warm-up
                through.append(between - started)
                straight.append(ended - again)
    ratio = statistics.median(through) / statistics.median(straight)
    return {"engine": seconds(through), "ask": seconds(straight), "p50_ratio": ratio}


async def crowd(
    ask: Callable[[Query], Awaitable[Any]], asked: Sequence[Query], clients: int
) -> tuple[list[Any], list[float], float]:
    """Many clients that ask one question after another: what came of each question, how long each
    took, and all of them."""
    left, made, took = list(enumerate(asked)), [None] * len(asked), [0.0] * len(asked)
    left.reverse()

    async def client() -> None:
        while left:
            i, query = left.pop()
            started = time.perf_counter()
            made[i] = await ask(query)
            took[i] = time.perf_counter() - started

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return made, took, time.perf_counter() - started


def in_batches(editor: Editor, asked: Sequence[Query]) -> float:
    """Questions a second that `Editor.ask` answers."""
    editor._loaded.pictures.forget()
    started = time.perf_counter()
    images, texts = [q.image for q in asked], [q.question for q in asked]
    editor.ask(images, texts, batch_size=BATCH)  # type: ignore[call-overload]
    return len(asked) / (time.perf_counter() - started)


async def many_clients(
    engine: Worker, log: Log, editor: Editor, asked: Sequence[Query], clients: int
) -> dict[str, Any]:
    """Throughput, before and after measured against batches of the editor's own."""
    before = in_batches(editor, asked)
    editor._loaded.pictures.forget()
    log.sizes.clear()
    _, took, all_of_it = await crowd(lambda q: engine.ask(q.ask), asked, clients)
    sizes = dict(sorted(log.sizes.items()))
    after = in_batches(editor, asked)
    rate, ask = len(asked) / all_of_it, (before + after) / 2
    return {
        "clients": clients,
        "answers": len(asked),
        "answers_per_second": rate,
        "ask_in_batches_per_second": [before, after],
        "ratio": rate / ask,
        "seconds": seconds(took),
        "batches": {str(size): n for size, n in sizes.items()},
    }


async def overload(
    engine: Worker, asked: Sequence[Query], clients: int, deadline: float
) -> dict[str, Any]:
    """What comes of far too many at once."""

    async def ask(query: Query) -> str:
        try:
            await engine.ask(query.ask, deadline=time.monotonic() + deadline)
        except Overloaded as refused:
            await asyncio.sleep(min(1.0, refused.retry_after))
            return "Overloaded"
        except DeadlinePassed:
            return "DeadlinePassed"
        return "Answered"

    def megabytes() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    before = megabytes()
    made, _, took = await crowd(ask, asked, clients)
    return {
        "clients": clients,
        "outcomes": dict(Counter(made)),
        "seconds": took,
        "peak_megabytes": [before, megabytes()],
    }


# -- the oracle -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What made a version: an edit with its tensors, or the id of one that was taken back."""

    version: int
    edit: HeldEdit | None = None
    reverted: str | None = None

    def again(self, editor: Editor) -> None:
        """Do it to another editor, without learning."""
        if self.edit is not None:
            editor._store.commit(self.edit.edit, self.edit.key, self.edit.tensors)
            editor._holding.sync()
        elif self.reverted is not None:
            editor.revert(self.reverted)
        assert editor.version == self.version, "the same versions, change for change"


async def change(
    engine: Worker, facts: Sequence[Fact], every: float, stop: asyncio.Event
) -> list[Change]:
    """Edit or take back, at random, until told to stop; all that was done."""
    chance, held, changes = random.Random(1), dict[int, str](), list[Change]()

    def teach(fact: Fact, editor: Editor) -> Change | None:
        (made,) = editor.edit_many([fact])
        if isinstance(made, FailedEdit):
            return None
        (kept,), _ = editor._store.load([made.id])
        return Change(editor.version, edit=kept)

    def take_back(edit_id: str, editor: Editor) -> Change:
        editor.revert(edit_id)
        return Change(editor.version, reverted=edit_id)

    while not stop.is_set():
        i = chance.randrange(len(facts))
        if i in held:
            work = partial(take_back, held.pop(i))
            changes.append(await engine.run(DEFAULT_TENANT, work))
        else:
            made = await engine.run(DEFAULT_TENANT, partial(teach, facts[i]), facts=1)
            if made is not None:
                held[i] = made.edit.edit.id
                changes.append(made)
        try:
            await asyncio.wait_for(stop.wait(), every)
        except TimeoutError:
            continue
    return changes


async def under_change(
    engine: Worker, facts: Sequence[Fact], asked: Sequence[Query], clients: int, every: float
) -> tuple[list[Any], dict[str, Any], list[Change]]:
    """Clients ask while edits land; what each question was answered, and how fast."""
    stop, back = asyncio.Event(), 0

    async def ask(query: Query) -> Answered:
        nonlocal back
        started_at = engine.version(DEFAULT_TENANT)
        made = await engine.ask(query.ask)
        back += made.version < started_at
        return made

    changing = asyncio.create_task(change(engine, facts, every, stop))
    made, took, all_of_it = await crowd(ask, asked, clients)
    stop.set()
    changes = await changing
    figures = {
        "clients": clients,
        "answers": len(asked),
        "edits": sum(c.edit is not None for c in changes),
        "reverts": sum(c.reverted is not None for c in changes),
        "every_seconds": every,
        "answers_per_second": len(asked) / all_of_it,
        "seconds": seconds(took),
        "versions_that_went_back": back,
    }
    return made, figures, changes


def differing(
    loaded: LoadedModel, asked: Sequence[Query], made: Sequence[Answered], changes: Sequence[Change]
) -> list[dict[str, Any]]:
    """The answers that are not what their version gives, asked again at it."""
    at: dict[int, list[int]] = defaultdict(list)
    for i, one in enumerate(made):
        at[one.version].append(i)
    editor, found = Editor.on(loaded), []
    for version in range(max(at) + 1):
        if version:
            changes[version - 1].again(editor)
        places = at.get(version, [])
        if not places:
            continue
        images, texts = [asked[i].image for i in places], [asked[i].question for i in places]
        expected: Any = editor.ask(images, texts, batch_size=BATCH)  # type: ignore[call-overload]
        for i, want in zip(places, expected, strict=True):
            got = made[i].answer
            if (got.text, got.fired) != (want.text, want.fired):
                found.append(_difference(editor, asked[i], version, got, want))
    return found


def _difference(
    editor: Editor, query: Query, version: int, got: Answer, want: Answer
) -> dict[str, Any]:
    margins = {"edited": margin(editor, query)}
    with editor._method.routing.bypass():
        margins["untouched"] = margin(editor, query)
    if want.distance is not None and want.radius:
        margins["radius"] = abs(want.distance - want.radius) / want.radius
    return {
        "question": query.question,
        "version": version,
        "got": got.to_dict(),
        "expected": want.to_dict(),
        "margins": margins,
        "near_tie": min(margins.values()) < NEAR_TIE,
    }


@torch.no_grad()
def margin(editor: Editor, query: Query) -> float:
    """By how much the likeliest token is ahead of the next, in logits, where that is least."""
    with editor:
        model: Any = editor.model
        made = model.generate(
            **editor.inputs([query.image], [query.question]),
            do_sample=False,
            max_new_tokens=32,
            output_logits=True,
            return_dict_in_generate=True,
        )
    best = torch.cat(made.logits).float().topk(2).values
    return float((best[:, 0] - best[:, 1]).min())


# -- the command ----------------------------------------------------------------------------------


async def measured(
    loaded: LoadedModel, n: int, clients: int, rounds: int, oracle: int, every: float, much: int
) -> dict[str, Any]:
    """All figures."""
    samples = pocket.load("edit-eval")
    speed, changing = samples[: max(2, n // 4 + 1)], samples[-12:]
    editor, log = Editor.on(loaded), Log()
    engine = Worker(Editors(lambda _: editor), watch=log)
    engine.start()
    asked = queries(speed)[:n]
    result: dict[str, Any] = {
        "one": await one_client(engine, editor, asked[:4], rounds),
        "many": await many_clients(engine, log, editor, asked, clients),
    }
    if much:
        many = [asked[i % len(asked)] for i in range(8 * much * Limits().queue)]
        result["overload"] = await overload(engine, many, much * Limits().queue, 10.0)
    if oracle:
        chance, some = random.Random(0), queries(changing)
        drawn = [chance.choice(some) for _ in range(oracle)]
        log.sizes.clear()
        made, result["changing"], changes = await under_change(
            engine, [fact(sample) for sample in changing], drawn, clients, every
        )
        result["changing"]["batches"] = {str(k): v for k, v in sorted(log.sizes.items())}
        result["changing"]["fired"] = sum(one.answer.fired is not None for one in made)
        few = result["many"]["ask_in_batches_per_second"]
        result["changing"]["ratio"] = result["changing"]["answers_per_second"] / statistics.mean(
            few
        )
        result["differ"] = differing(loaded, drawn, made, changes)
    await engine.drain()
    return result


def run(
    n: Annotated[int, typer.Option(help="Questions of the measures of speed.")] = 400,
    clients: Annotated[int, typer.Option(help="Clients at once.")] = 32,
    rounds: Annotated[int, typer.Option(help="Rounds of the single client.")] = 15,
    oracle: Annotated[int, typer.Option(help="Answers while edits land; 0: none.")] = 5_000,
    every: Annotated[float, typer.Option(help="Seconds between edits.")] = 2.0,
    overload: Annotated[int, typer.Option(help="Times the queue that ask at once; 0: none.")] = 4,
    model: Annotated[str, typer.Option(help="The model.")] = "pocket",
    out: Annotated[Path | None, typer.Option(help="Where the figures go.")] = None,
) -> None:
    """Measure, print, and with --out keep the figures."""
    loaded = load_model(model)
    result = asyncio.run(measured(loaded, n, clients, rounds, oracle, every, overload))
    console = Console(width=120)
    one, many = result["one"], result["many"]
    console.print(
        f"one client: p50 {1e3 * one['engine']['p50']:.0f} ms, Editor.ask "
        f"{1e3 * one['ask']['p50']:.0f} ms: × {one['p50_ratio']:.3f}"
    )
    console.print(
        f"{clients} clients: {many['answers_per_second']:.1f} answers/s, p99 "
        f"{many['seconds']['p99']:.2f} s, × {many['ratio']:.3f} of Editor.ask in batches of {BATCH}"
    )
    if oracle:
        changing, differ = result["changing"], result["differ"]
        ties = sum(one["near_tie"] for one in differ)
        console.print(
            f"with {changing['edits']} edits and {changing['reverts']} reverts landing: "
            f"{changing['answers_per_second']:.1f} answers/s (× {changing['ratio']:.3f}), p99 "
            f"{changing['seconds']['p99']:.2f} s; of {oracle:,} answers {len(differ)} differ, "
            f"{ties} of them near ties; versions went back {changing['versions_that_went_back']} "
            "times"
        )
    if overload:
        console.print(f"overload: {result['overload']['outcomes']}")
    if out is not None:
        result["machine"] = {
            "threads": torch.get_num_threads(),
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "balancedit": balancedit.__version__,
            "device": str(loaded.device),
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        write_lines(out, result)
        console.print(f"wrote {out}")


if __name__ == "__main__":
    typer.run(run)
