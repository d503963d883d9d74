"""What an edit costs a caller's own `generate`: the raw model inside the editor's context against
the same model without it, in turn, in one process.

Four kinds of prompt, about one edit held (and `--edits` more from other things): its own question,
where it fires; its own picture under another question, inside the radius, where the untouched model
says something else; another thing, outside. A row's answer may be longer than the old one, so
seconds are also given for as many tokens.

    python studies/raw_cost.py --rounds 20 --out results/pocket/raw-cost.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from balancedit import Editor
from balancedit.bench.provenance import provenance
from balancedit.data.catalogue import find
from balancedit.files.compact import write_lines


def seconds(editor: Editor, inputs: dict[str, torch.Tensor], tokens: int) -> float:
    """One `generate` of exactly so many tokens."""
    model: Any = editor.model
    started = time.perf_counter()
    model.generate(**inputs, do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=1, help="edits held")
    parser.add_argument("--rounds", type=int, default=20, help="measurements of each kind")
    parser.add_argument("--tokens", type=int, default=2, help="tokens generated each time")
    parser.add_argument("--out", type=Path, help="where to put the figures, as JSON")
    args = parser.parse_args()
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
    rows: dict[str, dict[str, float]] = {}
    for kind, (image, question) in asked.items():
        inputs = editor.inputs([image], [question])
        answer = editor.ask(image, question)
        inside = answer.distance is not None and answer.distance <= (answer.radius or 0)
        assert (answer.fired is not None) == (kind == "fires"), f"{kind}: {answer}"
        assert inside == (kind != "outside"), f"{kind}: {answer}"
        plain, edited = [], []
        for _ in range(args.rounds + 2):
            plain.append(seconds(editor, inputs, args.tokens))
            with editor:
                edited.append(seconds(editor, inputs, args.tokens))
        ratios = [e / p for e, p in zip(edited[2:], plain[2:], strict=True)]
        rows[kind] = {
            "plain": round(statistics.median(plain[2:]), 4),
            "edited": round(statistics.median(edited[2:]), 4),
            "ratio": round(statistics.median(ratios), 3),
            "least": round(min(ratios), 3),
            "most": round(max(ratios), 3),
        }
        print(f"{kind:24}", rows[kind])
    if args.out is not None:
        about = provenance(editor._loaded) | {"edits": args.edits, "tokens": args.tokens}
        write_lines(args.out, {"about": about, "rows": rows})


if __name__ == "__main__":
    main()
