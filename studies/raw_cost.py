"""What an edit costs a caller's own `generate`: the raw model inside the editor's context against
the same model without it, in turn, in one process.

Three kinds of prompt, about one edit held (and `--edits` more from other things): its own question,
where it fires; its own picture under another question, inside the radius, where the untouched model
says something else; another thing, outside. Each is answered to its natural stop, where the edited
answer may be longer than the old one or shorter, and in as many tokens as `--tokens` says, where
both make the same number.

    python studies/raw_cost.py --rounds 20 --out results/pocket/raw-cost.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from balancedit import Editor
from balancedit.bench.provenance import provenance
from balancedit.data.catalogue import find
from balancedit.files.compact import write_lines
from balancedit.layer import deciding

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
MOST = 32  # tokens of an answer that does not stop before


def seconds(
    editor: Editor, inputs: dict[str, torch.Tensor], tokens: int | None, clock: Clock
) -> tuple[float, int]:
    """One `generate` of exactly so many tokens, or to its natural stop; and how many it made."""
    model: Any = editor.model
    least, most = (tokens, tokens) if tokens else (None, MOST)
    started = clock()
    out = model.generate(**inputs, do_sample=False, min_new_tokens=least, max_new_tokens=most)
    return clock() - started, out.shape[1] - inputs["input_ids"].shape[1]


def compared(
    editor: Editor,
    inputs: dict[str, torch.Tensor],
    tokens: int | None,
    rounds: int,
    clock: Clock,
) -> dict[str, float]:
    """Both ways in turn, after two rounds that do not count."""
    plain, edited, made = [], [], (0, 0)
    for _ in range(rounds + 2):
        without, old = seconds(editor, inputs, tokens, clock)
        with editor:
            within, new = seconds(editor, inputs, tokens, clock)
        plain.append(without)
        edited.append(within)
        made = old, new
    ratios = [e / p for e, p in zip(edited[2:], plain[2:], strict=True)]
    return {
        "plain tokens": made[0],
        "edited tokens": made[1],
        "plain": round(statistics.median(plain[2:]), 4),
        "edited": round(statistics.median(edited[2:]), 4),
        "ratio": round(statistics.median(ratios), 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=1, help="edits held")
    parser.add_argument("--rounds", type=int, default=20, help="measurements of each kind")
    parser.add_argument("--tokens", type=int, nargs="*", default=[2], help="lengths of answers")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: this process's own seconds, for a machine with other work; with one thread",
    )
    parser.add_argument(
        "--apart", action="store_true", help="make no decode step in the pass that decides"
    )
    parser.add_argument("--out", type=Path, help="where to put the figures, as JSON")
    args = parser.parse_args()
    if args.apart:
        deciding.extends = lambda _: False  # type: ignore[assignment]
    editor = Editor.load("pocket")
    samples = [s for s in find("okedit-pocket").load("edit-train") if s.kind == "name"]
    for sample in samples[: args.edits]:
        editor.edit(sample.image.open(), sample.question, sample.target)
    own, other = samples[0], samples[args.edits]
    asked = {
        "fires": (own.image.open(), own.question),
        "inside, does not fire": (own.image.open(), "What colour is the background?"),
        "outside": (other.image.open(), other.question),
    }
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for kind, (image, question) in asked.items():
        inputs = editor.inputs([image], [question])
        answer = editor.ask(image, question)
        inside = answer.distance is not None and answer.distance <= (answer.radius or 0)
        assert (answer.fired is not None) == (kind == "fires"), f"{kind}: {answer}"
        assert inside == (kind != "outside"), f"{kind}: {answer}"
        rows[kind] = {}
        for tokens in (None, *args.tokens):
            made = compared(editor, inputs, tokens, args.rounds, CLOCKS[args.clock])
            rows[kind][str(tokens or "natural")] = made
            print(f"{kind:24}", tokens or "natural", made)
    if args.out is not None:
        about = provenance(editor._loaded) | {k: vars(args)[k] for k in ("edits", "clock", "apart")}
        write_lines(args.out, {"about": about, "rows": rows})


if __name__ == "__main__":
    main()
