"""How long an edit takes: the reference loop of full passes, the short way, factors, many at once,
and beside them one batched prefill of the same prompts, which no edit can do without.

    python studies/editing_speed.py                                       # pocket, CPU
    python studies/editing_speed.py --model blip2-opt-2.7b --device cuda  # random weights
    python studies/editing_speed.py --model llava-7b --device cuda        # random weights
    python studies/editing_speed.py --model tiny --n 2 --many 4 --repeats 1

Rephrasings are given. One edit: each way learns the same fact (key, radius and transformation) in
turn, after a warm-up, with every picture forgotten before; `Editor.edit` is all of an edit, with
the model's answers before and after it and the store, under either scope: the answer-aware one asks
the untouched model two more questions. The reference reads the three prompts one by
one and runs all of the model at each of its steps, vision tower included, as the authors do. Many
edits: `Editor.edit_many` of distinct facts into a store in memory, beside the prefill of all their
prompts in batches. Models of random weights are built by `full_size.py`; their answers rarely end,
so that the answers before and after an edit take about as long as they can.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from balancedit import Editor, Fact
from balancedit.bench.provenance import provenance
from balancedit.data import pocket
from balancedit.files.compact import write_lines
from balancedit.learning.loop import Schedule, Start, finetune
from balancedit.methods import EditRequest
from balancedit.methods.balancedit import BalancEdit, BalancEditConfig
from balancedit.models.loading import LoadedModel, dtype_named, load_model
from balancedit.teaching import prepared
from balancedit.types import BATCH_SIZE

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))
import full_size

import tiny

MODELS = {
    "blip2-opt-2.7b": full_size.full_size,
    "llava-7b": full_size.full_size_llava,
    "tiny": lambda device, dtype, seed: tiny.llava(seed),
}


def built(name: str, device: str | None, dtype: str | None) -> LoadedModel:
    """The default model, or one of random weights."""
    if name == "pocket":
        return load_model(name, device=device, dtype=dtype)
    where, kind = device or "cpu", dtype_named(dtype or "float32")
    model, processor = MODELS[name](where, kind, 0)
    layer = tiny.LLAVA_LAYER if name == "tiny" else None
    return load_model(model.to(where, kind), processor=processor, layer=layer)


def facts(name: str, n: int) -> list[Fact]:
    """Distinct facts with a rephrasing each."""
    if name == "pocket":
        samples = pocket.load("edit-train")[:n]
        return [
            Fact(s.image.open(), s.question, s.target, (f"Tell me: {s.question}",)) for s in samples
        ]
    question, reworded = full_size.QUESTION, (full_size.REWORDED,)
    return [Fact(tiny.picture(i, side=320), question, full_size.TARGET, reworded) for i in range(n)]


def seconds(loaded: LoadedModel, do: Callable[[], Any]) -> float:
    """How long something takes, pictures forgotten before."""
    loaded.pictures.forget()
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    do()
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def prompts(requests: Sequence[EditRequest]) -> list[tuple[Any, str]]:
    """Every prompt that learning facts must read: their own, their positives' and negatives'."""
    rows = [(r.image, r.question) for r in requests]
    rows += [(r.image, p) for r in requests for p in r.positives]
    return rows + [(r.negative, r.question) for r in requests]


def prefill(method: BalancEdit, requests: Sequence[EditRequest]) -> None:
    """Read them in batches, each picture once."""
    rows = prompts(requests)
    with method.routing.loaded.pictures.reused():
        for at in range(0, len(rows), BATCH_SIZE):
            images, questions = zip(*rows[at : at + BATCH_SIZE], strict=True)
            method.routing.prefill_keys(images, questions)


def reference(method: BalancEdit, request: EditRequest) -> None:
    """The plain loop: prompts one by one, then `steps` full forward and backward passes."""
    loaded, config = method.routing.loaded, method.config
    for image, question in prompts([request]):
        method.routing.prefill_keys([image], [question])
    inputs = loaded.to_device(loaded.prompter.inputs([request.image], [request.question]))
    start = Start({"weight": method.routing.layer.base_weight}, config.lr or loaded.edit_lr)
    answer = loaded.prompter.answer_ids(request.target, loaded.eos)
    with method.routing.bypass():
        finetune(
            loaded.model,
            method.routing.layer,
            inputs,
            answer,
            start,
            Schedule(config.steps, config.eps),
        )


def learn(method: BalancEdit, request: EditRequest) -> None:
    """Learn one fact as `Editor.edit` does."""
    with method.routing.loaded.pictures.reused():
        method.learn(request)


def run(
    model: Annotated[str, typer.Option(help=f"pocket, or {', '.join(MODELS)}.")] = "pocket",
    n: Annotated[int, typer.Option(help="Facts that are learned one by one.")] = 8,
    many: Annotated[int, typer.Option(help="Facts that are learned together.")] = 256,
    repeats: Annotated[int, typer.Option(help="Rounds of everything.")] = 5,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the weights.")] = None,
    stop: Annotated[float, typer.Option(help="Loss that ends training early.")] = 0.01,
    slow: Annotated[bool, typer.Option(help="Time the reference, too.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write every figure as JSON.")] = None,
) -> None:
    """Measure, print medians and ratios."""
    loaded = built(model, device, dtype)
    given = facts(model, max(n, many))
    full, thin = {"transformation": "full"}, {"transformation": "low_rank", "stop": stop}
    scopes = ("paper", "answer-aware")
    settings = {
        "full, all steps": full | {"stop": None},
        "full, early stop": full | {"stop": stop},
        "low rank, early stop": thin,
    }
    methods = {
        name: BalancEdit(loaded, BalancEditConfig(**how))  # type: ignore[arg-type]
        for name, how in settings.items()
    }
    first = next(iter(methods.values()))
    first.routing.attach()
    requests = [prepared(loaded, first, i, f).request for i, f in enumerate(given)]
    first.routing.detach()

    def attached(method: BalancEdit, do: Callable[[], Any]) -> Callable[[], float]:
        def timed() -> float:
            method.routing.attach()
            try:
                return seconds(loaded, do)
            finally:
                method.routing.detach()

        return timed

    def edits(facts: Sequence[Fact], scope: str) -> Callable[[], float]:
        def timed() -> float:
            editor = Editor.on(loaded, scope=scope, **thin)
            return seconds(loaded, lambda: editor.edit_many(facts))

        return timed

    one: dict[str, Callable[[int], float]] = {
        "prefill of its three prompts": lambda i: attached(
            first, lambda: prefill(first, requests[i : i + 1])
        )(),
        **{
            name: lambda i, m=m: attached(m, lambda: learn(m, requests[i]))()  # type: ignore[misc]
            for name, m in methods.items()
        },
        **{
            f"Editor.edit, {scope} scope": lambda i, s=scope: edits(  # type: ignore[misc]
                given[i : i + 1], s
            )()
            for scope in scopes
        },
    }
    if slow:
        one["reference loop"] = lambda i: attached(first, lambda: reference(first, requests[i]))()
    together: dict[str, Callable[[], float]] = {
        "prefill of all prompts": attached(first, lambda: prefill(first, requests[:many])),
        **{f"edit_many, {scope} scope": edits(given[:many], scope) for scope in scopes},
    }
    taken: dict[str, list[float]] = {name: [] for name in [*one, *together]}
    for measure in one.values():
        measure(0)  # the warm-up
    for _ in range(repeats):
        for i in range(n):
            for name, measure in one.items():
                taken[name].append(measure(i))
        if many:
            for name, timed in together.items():
                taken[name].append(timed() / many)
    report(taken, "reference loop" if slow else "full, all steps")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        found = {"model": model, "n": n, "many": many, "machine": provenance(loaded)}
        write_lines(out, found | {"seconds an edit": taken})


def report(taken: dict[str, list[float]], slowest: str) -> None:
    """Medians, spread, and ratios to the slowest way and to the prefill."""
    medians = {name: statistics.median(found) for name, found in taken.items() if found}
    table = Table("seconds an edit", "median", "fastest", "slowest", f"{slowest} ÷", "÷ prefill")
    for name, median in medians.items():
        many = "many" in name or "all prompts" in name
        floor = medians["prefill of all prompts" if many else "prefill of its three prompts"]
        table.add_row(
            name,
            f"{median:.4f}",
            f"{min(taken[name]):.4f}",
            f"{max(taken[name]):.4f}",
            f"{medians[slowest] / median:.1f}",
            f"{median / floor:.2f}",
        )
    console = Console(width=140)
    console.print(table)
    for name in [name for name in medians if name.startswith("edit_many")]:
        console.print(f"{name}: {1 / medians[name]:.1f} edits a second")
    console.print(f"{torch.get_num_threads()} threads")


if __name__ == "__main__":
    typer.run(run)
