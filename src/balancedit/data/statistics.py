"""What a list of edits consists of: the figures of the paper's Table 2, and those that say how hard
its locality is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from balancedit.data.sample import LOCALITY_KINDS, EditSample
from balancedit.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

Spread = dict[str, float]  # "min", "mean", "max"


def describe(samples: Sequence[EditSample]) -> dict[str, Any]:
    """The statistics of some edits as plain JSON types.

    Everything "per sample" is a spread (least, mean, most); lengths are in words. `sharing_answer`
    counts the locality probes whose true answer is the one their edit replaces. Raises `InputError`
    when there are no samples.
    """
    if not samples:
        raise InputError("there are no samples to describe; check the data set and its part")
    probes = [(sample, probe) for sample in samples for probe in sample.locality]
    asked = [q for s in samples for q in (s.question, *s.rephrases)]

    def each(size: Callable[[EditSample], int]) -> Spread:
        return _spread(size(sample) for sample in samples)

    return {
        "samples": len(samples),
        "things": len({s.shows for s in samples}),
        "categories": _counts(s.category for s in samples),
        "kinds": _counts(s.kind for s in samples),
        "questions": len(set(asked)),
        "rephrases": each(lambda s: len(s.rephrases)),
        "image_rephrases": each(lambda s: len(s.image_rephrases)),
        "question_words": _spread(len(q.split()) for q in asked),
        "target_words": each(lambda s: len(s.target.split())),
        "original_answer_words": each(lambda s: len(s.original_answer.split())),
        "locality": {k: sum(p.kind == k for _, p in probes) for k in LOCALITY_KINDS},
        "locality_per_sample": each(lambda s: len(s.locality)),
        "sharing_answer": sum(s.shares_answer(p) for s, p in probes if p.kind == "similar"),
        "portability": sum(len(s.portability) for s in samples),
    }


def table(parts: Mapping[str, Mapping[str, Any]]) -> Table:
    """The statistics of one or more parts (name -> `describe`'s result), a column each."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="dim")
    shown.add_column("")
    for part in parts:
        shown.add_column(part, justify="right", no_wrap=True)

    columns = list(parts.values())

    def row(label: str, cells: Iterable[object], style: str | None = None) -> None:
        shown.add_row(label, *(str(cell) for cell in cells), style=style)

    def counts(field: str) -> None:
        for name in dict.fromkeys(name for column in columns for name in column[field]):
            row(f"  {name}", (column[field].get(name, 0) for column in columns), "dim")

    row("edits", (c["samples"] for c in columns))
    row("different things", (c["things"] for c in columns))
    row("kinds of answer", (len(c["kinds"]) for c in columns))
    counts("kinds")
    row("categories", (len(c["categories"]) for c in columns))
    counts("categories")
    row("different questions", (c["questions"] for c in columns))
    for label, field in _SPREADS:
        row(label, (_range(c[field]) for c in columns))
    row("locality probes", (sum(c["locality"].values()) for c in columns))
    counts("locality")
    row("similar, same old answer", (c["sharing_answer"] for c in columns))
    row("portability probes", (c["portability"] for c in columns))
    return shown


_SPREADS = (
    ("rephrasings an edit", "rephrases"),
    ("other pictures an edit", "image_rephrases"),
    ("locality probes an edit", "locality_per_sample"),
    ("words in a question", "question_words"),
    ("words in a target", "target_words"),
    ("words in an old answer", "original_answer_words"),
)


def _counts(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, most frequent first, then by name."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _spread(values: Iterable[int]) -> Spread:
    held = list(values)
    return {"min": min(held), "mean": round(sum(held) / len(held), 3), "max": max(held)}


def _range(spread: Spread) -> str:
    """``5``, or ``1.3 (1 to 4)``."""
    if spread["min"] == spread["max"]:
        return f"{spread['min']:g}"
    return f"{spread['mean']:.1f} ({spread['min']:g} to {spread['max']:g})"
