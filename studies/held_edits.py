"""What holding edits costs the questions that none of them is about, from one edit to 100,000.

    python studies/held_edits.py --out results/pocket/serving
    python studies/held_edits.py --held 0 --held 1 --held 600 --repeats 3 --probes 50   # seconds

Asked is a question that no edit reaches, by the unedited model (processor, `generate` and decoding
of the text, no editor) and by an editor at each number of edits held, in turn, after a warm-up; no
encoded picture is kept from one to the next. A decode step is the time between two tokens of a
longer answer. Ratios are of medians, with a bootstrap interval over the rounds.

One edit is learned. The others are made up: a transformation of the size of a low-rank one, never
read since they do not fire, and a key beside real ones. Half the keys are a real prompt's key moved
by half a random mixture of real differences, half are such mixtures; radii are a real rewording's
distance. The index and the full search are then asked about the same probes: real keys, and points
just inside and just outside made-up entries' radii.
"""

from __future__ import annotations

import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import balancedit
from balancedit import Editor
from balancedit.bench import plot_style
from balancedit.codebook.codebook import DISTANCES, Codebook
from balancedit.data import pocket
from balancedit.files.compact import write_lines
from balancedit.models.loading import LoadedModel, load_model
from balancedit.store import HeldEdits
from balancedit.types import BATCH_SIZE, Edit

DEFAULT_HELD = [0, 1, 1_000, 10_000, 100_000]
ANSWER_TOKENS = 24  # of the longer answer
_EDGE = 1e-3  # how far inside or outside a radius, as a share of it
_RESAMPLES = 2000


@dataclass(frozen=True)
class Material:
    """What questions are asked and edits are made of. keys: (n, D) of real prompts; rewordings:
    their distances to the same prompts' rewordings."""

    keys: torch.Tensor
    rewordings: list[float]
    elsewhere: torch.Tensor  # (m, D) keys of other real prompts


def material(editor: Editor, samples: Sequence[Any]) -> Material:
    """Keys of the samples' prompts and of their rewordings; every other sample is kept apart."""
    keys, reworded = [], []
    with editor.attached():
        for start in range(0, len(samples), BATCH_SIZE):
            some = samples[start : start + BATCH_SIZE]
            images = [s.image.open() for s in some]
            method: Any = editor._method
            keys.append(method.routing.prefill_keys(images, [s.question for s in some]).cpu())
            reworded.append(
                method.routing.prefill_keys(images, [s.rephrases[0] for s in some]).cpu()
            )
    every, other = torch.cat(keys), torch.cat(reworded)
    distance = DISTANCES[method.config.distance]
    apart = [distance(a[None], b[None]).item() for a, b in zip(every, other, strict=True)]
    return Material(every[::2], apart[::2], torch.cat([every[1::2], other[1::2]]))


def made_up(real: Material, n: int, like: Edit, seed: int) -> HeldEdits:
    """n edits with keys beside real ones; see the module's text."""
    generator = torch.Generator().manual_seed(seed)
    centre = real.keys.mean(0)
    differences = (real.keys - centre) / len(real.keys) ** 0.5
    keys = torch.empty(n, real.keys.shape[1])
    for start in range(0, n, 4096):
        m = min(4096, n - start)
        mixed = torch.randn(m, len(differences), generator=generator) @ differences
        at = torch.randint(len(real.keys), (m // 2,), generator=generator)
        mixed[: m // 2] = real.keys[at] - centre + 0.5 * mixed[: m // 2]
        keys[start : start + m] = centre + mixed
    spread = sorted(real.rewordings)
    edits = [
        replace(like, id=f"{i:016x}", radius=spread[i % len(spread)], d_positive=0.0)
        for i in range(n)
    ]
    return HeldEdits(edits, keys, torch.arange(n), [_never_read] * n)


def _never_read() -> dict[str, torch.Tensor]:
    raise AssertionError("a made-up edit fired; ask about something else")


# -- time -----------------------------------------------------------------------------------------


def asking(loaded: LoadedModel, image: Any, question: str) -> Callable[[], None]:
    """The unedited model, without an editor, doing what `Editor.ask` does."""
    model: Any = loaded.model

    @torch.no_grad()
    def ask() -> None:
        inputs = loaded.prompter.inputs([image], [question])
        out = model.generate(
            **loaded.to_device(inputs), do_sample=False, num_beams=1, max_new_tokens=32
        )
        loaded.prompter.answers(out, inputs["input_ids"])

    return ask


class _Clock:
    """A streamer that notes when each token comes."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Any) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def step_seconds(model: Any, inputs: dict[str, torch.Tensor]) -> float:
    """Median time between two tokens of one longer answer."""
    clock = _Clock()
    with torch.no_grad():
        model.generate(
            **inputs,
            do_sample=False,
            min_new_tokens=ANSWER_TOKENS,
            max_new_tokens=ANSWER_TOKENS,
            streamer=clock,
        )
    times = clock.times[2:]  # the prompt, and the token its own pass gives
    return statistics.median(b - a for a, b in pairwise(times))


def seconds(work: Callable[[], Any]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(times: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Ratio of medians and its 95 % bootstrap interval; rounds are drawn together."""
    pairs = np.array([times, base])
    drawn = np.random.default_rng(0).integers(0, pairs.shape[1], (_RESAMPLES, pairs.shape[1]))
    medians = np.median(pairs[:, drawn], axis=2)
    low, high = np.quantile(medians[0] / medians[1], [0.025, 0.975])
    whole = np.median(pairs, axis=1)
    return float(whole[0] / whole[1]), float(low), float(high)


# -- agreement ------------------------------------------------------------------------------------


def near_radii(held: HeldEdits, n: int, seed: int) -> torch.Tensor:
    """(n, D) points just inside, for even rows, and just outside radii of entries."""
    generator = torch.Generator().manual_seed(seed)
    at = torch.randint(len(held.edits), (n,), generator=generator)
    away = torch.randn(n, held.keys.shape[1], generator=generator)
    radii = torch.tensor([held.edits[i].radius for i in at.tolist()])
    radii = radii * torch.where(torch.arange(n) % 2 == 0, 1 - _EDGE, 1 + _EDGE)
    return held.keys[at] + radii[:, None] * away / away.norm(dim=1, keepdim=True)


def agreement(distance: Any, held: HeldEdits, real: Material, probes: int) -> dict[str, Any]:
    """How often the index decides as the full search, and how often anything fires."""
    ids, radii = [e.id for e in held.edits], [float(e.radius or 0) for e in held.edits]
    books = Codebook(distance), Codebook(distance, exact_up_to=len(ids))
    for book in books:
        book.add_mapped(ids, held.keys, held.rows, radii)
    asked = torch.cat([real.elsewhere, real.keys])[:probes]
    asked = torch.cat([asked, near_radii(held, probes - len(asked), seed=3)])
    same = decided = fired = 0
    for some in asked.split(BATCH_SIZE):
        for a, b in zip(*(book.nearest(some) for book in books), strict=True):
            assert a is not None
            assert b is not None
            same += a == b
            decided += (a.id if a.inside else None) == (b.id if b.inside else None)
            fired += b.inside
    return {"probes": len(asked), "same_decision": decided, "same_match": same, "fire": fired}


# -- the command ----------------------------------------------------------------------------------


def draw(rows: Sequence[dict[str, Any]], about: Sequence[str], out: Path) -> list[Path]:
    """The growth of both ratios with the number of edits, as SVG and PNG beside `out`."""
    held = [row for row in rows if row["held"]]
    with plot_style.style():
        figure, left = plot_style.page(
            plot_style.WIDTH, 3.0, "Answering with edits held, against the unedited model", about
        )
        axes = figure.add_axes((0.1, 0.16 * left, 0.87, 0.76 * left))
        for mark, (name, label) in zip(
            plot_style.marks(2), (("ask", "a question"), ("step", "a decode step")), strict=True
        ):
            x, y = [r["held"] for r in held], [r[name]["ratio"] for r in held]
            axes.errorbar(
                x,
                y,
                yerr=[
                    [v - r[name]["low"] for v, r in zip(y, held, strict=True)],
                    [r[name]["high"] - v for v, r in zip(y, held, strict=True)],
                ],
                color=mark.colour,
                marker=mark.marker,
                linestyle=mark.dash,
                capsize=3,
                label=label,
            )
        axes.axhline(1.0, color=plot_style.MUTED, linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xticks([row["held"] for row in held], [f"{row['held']:,}" for row in held])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("edits held")
        axes.set_ylabel("time, ratio of medians")
        axes.grid(axis="y")
        axes.legend()
        return plot_style.save(figure, out.parent, out.name)


def run(
    held: Annotated[list[int] | None, typer.Option(help="Numbers of edits held.")] = None,
    repeats: Annotated[int, typer.Option(help="Rounds; each asks all in turn.")] = 40,
    probes: Annotated[int, typer.Option(help="Probes of index against full search.")] = 10_000,
    samples: Annotated[int, typer.Option(help="Real prompts that keys are made beside.")] = 400,
    out: Annotated[Path | None, typer.Option(help="Path of the results, without suffix.")] = None,
) -> None:
    """Measure, print, and with --out keep the numbers and a figure."""
    sizes = sorted(set(DEFAULT_HELD if held is None else held))
    loaded = load_model("pocket")
    chosen = pocket.load("edit-train")[:samples]
    asked, edited = pocket.load("edit-eval")[:2]
    image, question = asked.image.open(), asked.question
    first = Editor.on(loaded)
    real = material(first, chosen)
    edit = first.edit(edited.image.open(), edited.question, edited.target)
    distance = DISTANCES[first._method.config.distance]  # type: ignore[attr-defined]
    everything = made_up(real, max([1, *sizes]), edit, seed=1)

    editors, opened = {}, {}
    for n in sizes:
        editors[n] = Editor.on(loaded)
        method: Any = editors[n]._method
        some = HeldEdits(
            everything.edits[: max(0, n - 1)],
            everything.keys,
            everything.rows[: max(0, n - 1)],
            everything.read[: max(0, n - 1)],
        )
        method.add_many(some)
        if n:
            (kept,), _ = first._store.load([edit.id])
            method.add(kept.edit, kept.key, kept.tensors)
        opened[n] = seconds(method.settle)
        answer = editors[n].ask(image, question)
        assert answer.fired is None, "an edit reaches the question that none is to reach"

    base = asking(loaded, image, question)
    ways: dict[Any, Callable[[], Any]] = {"base": base}
    ways |= {n: partial(editors[n].ask, image, question) for n in sizes}
    inputs = loaded.to_device(loaded.prompter.inputs([image], [question]))
    asks: dict[Any, list[float]] = {name: [] for name in ways}
    steps: dict[Any, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 2):
        order = list(ways) if turn % 2 else list(reversed(ways))
        for name in order:
            loaded.pictures.forget()
            took = seconds(ways[name])
            if name == "base":
                step = step_seconds(loaded.model, inputs)
            else:
                with editors[name]:
                    step = step_seconds(loaded.model, inputs)
            if turn >= 2:  # the warm-up
                asks[name].append(took)
                steps[name].append(step)

    rows = []
    for n in sizes:
        book: Any = editors[n]._method.entries.codebook  # type: ignore[attr-defined]
        look_up = partial(book.nearest, real.elsewhere[:1])
        row: dict[str, Any] = {
            "held": n,
            "keys_bytes": max(0, n - 1) * everything.keys.shape[1] * 4,
            "index_bytes": book.index_bytes,
            "look_up_ms": 1e3 * statistics.median(seconds(look_up) for _ in range(repeats)),
            "index_made_s": opened[n],
        }
        for name, times in (("ask", asks), ("step", steps)):
            found, low, high = ratio(times[n], times["base"])
            ms = 1e3 * statistics.median(times[n])
            row[name] = {"ms": ms, "ratio": found, "low": low, "high": high}
        if n > 1 and probes:
            some = HeldEdits(everything.edits[:n], everything.keys[:n], everything.rows[:n], [])
            row["agreement"] = agreement(distance, some, real, probes)
        rows.append(row)

    console = Console(width=120)
    table = Table(
        "edits", "ask ms", "× unedited", "95 %", "step ms", "× unedited", "95 %", "look-up ms",
        "keys MB", "index MB", "decides alike",
    )  # fmt: skip
    table.add_row("no editor", *(
        f"{1e3 * statistics.median(t['base']):.2f}" if i == 0 else "" for t in (asks, steps)
        for i in range(3)
    ))  # fmt: skip
    for row in rows:
        found = row.get("agreement")
        cells = [f"{row['held']:,}"]
        for name in ("ask", "step"):
            part = row[name]
            cells.append(f"{part['ms']:.2f}")
            cells += [f"{part['ratio']:.3f}", f"{part['low']:.3f}–{part['high']:.3f}"]
        cells += [f"{row['look_up_ms']:.2f}"]
        cells += [f"{row[k] / 1e6:.1f}" for k in ("keys_bytes", "index_bytes")]
        cells.append(f"{found['same_decision']:,} of {found['probes']:,}" if found else "")
        table.add_row(*cells)
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    machine = {
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "balancedit": balancedit.__version__,
        "device": str(next(loaded.model.parameters()).device),
        "dtype": str(loaded.dtype),
    }
    console.print(
        f"{repeats} rounds, {machine['threads']} threads, keys of {everything.keys.shape[1]} "
        f"numbers; the process took {peak / 1e9:.2f} GB at most, all editors together"
    )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        result = {"machine": machine, "repeats": repeats, "peak_bytes": peak, "rows": rows}
        result["base"] = {
            "ask_ms": 1e3 * statistics.median(asks["base"]),
            "step_ms": 1e3 * statistics.median(steps["base"]),
        }
        write_lines(out.with_suffix(".json"), result)
        about = [f"pocket, threads: {machine['threads']}", f"{repeats} rounds", "bars: 95 %"]
        for path in [out.with_suffix(".json"), *draw(rows, about, out)]:
            console.print(f"wrote {path}")


if __name__ == "__main__":
    typer.run(run)
