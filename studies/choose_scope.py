"""Which key, distance, scope and α reach what an edit should reach, and leave out the rest.

    python studies/choose_scope.py --n 140 --out results/pocket/scope.json

Scope decisions only, without training: for edits of *edit-train* things the radius is measured as
`BalancEdit` does, and every probe is asked which entry, if any, would fire for it: with the edit
held alone, and with all of them held together. T-Gen and I-Gen count the edit's own entry, the
others that none fires; together, probes of things that another of the edits changed are left out.
"same answer" are the probes of Loc to which the untouched model gives the edit's old answer. HM is
that of T-Gen, I-Gen and Loc, held together. Settings are chosen here; figures are reported on
*edit-eval* things, by free generation (docs/results.md).

Beside the library's scopes two that it does not have: "two radii", a wide one where the untouched
model gives the old answer (0.95 of the negative's distance) and a tight one elsewhere (1.05 of the
positive's), and "answer and name", answer-aware where the untouched model also calls the picture
what it calls the edit's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from balancedit import Editor
from balancedit.bench.metrics import harmonic_mean
from balancedit.bench.protocols import PAPER_LOCALITY, REACH, probes
from balancedit.codebook.codebook import DISTANCES
from balancedit.codebook.pooling import POOLS
from balancedit.data import pocket
from balancedit.data.sample import EditSample
from balancedit.files.compact import write_lines
from balancedit.inputs.images import solid
from balancedit.layer.decisions import Said
from balancedit.methods.routed import RoutedLayer
from balancedit.models.loading import LoadedModel, load_model
from balancedit.scope.firing import old_answer
from balancedit.scope.radius import influence_radius
from balancedit.scope.rephrasing import rephrase

ALPHAS = tuple(round(0.05 * i, 2) for i in range(21))
SCOPES = ("paper", "answer-aware", "two radii", "answer and name")
NAMING = "What is this?"
KEPT = (PAPER_LOCALITY, "same-image", "unrelated", "black")
MEASURES = (*REACH[1:], *KEPT)
SAME = "same answer"


def every_key(h: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    """Every kind of key side by side. h: (B, T, D), prompt: (B, T) bool -> (B, widths of all)."""
    return torch.cat([pool(h, prompt) for pool in POOLS.values()], dim=-1)


@dataclass(frozen=True)
class Measured:
    """One edit. keys: by kind, each (3 + P, its width): the edit, its positive and its negative,
    then its P probes; measures: what the probes measure; answers: the untouched model's to them;
    called: what it calls what they show, "" where they show nothing; old: the edit's old answer, as
    `answer_aware.old_answer` finds it; name: what it calls the edit's picture."""

    sample: EditSample
    keys: dict[str, torch.Tensor]
    measures: np.ndarray
    answers: tuple[str, ...]
    called: tuple[str, ...]
    shows: tuple[str | None, ...]
    old: str | None
    name: str


class Setting(NamedTuple):
    """What is compared."""

    key: str
    distance: str
    scope: str
    alpha: float


def as_said(loaded: LoadedModel, text: str) -> Said:
    """An answer's text as the model would write it in tokens; only the text decides here."""
    return Said(text, tuple(loaded.prompter.tokenizer(text, add_special_tokens=False).input_ids))


def measured(loaded: LoadedModel, samples: Sequence[EditSample]) -> list[Measured]:
    """Every edit's queries, read once for their keys and once for their answers."""
    watched, found, untouched = RoutedLayer(loaded, every_key), [], Editor.on(loaded)
    for sample in track(samples, "reading", console=Console(stderr=True)):
        image, question = sample.image.open(), sample.question
        positive = rephrase(question, 1, loaded.rephraser)[0][0]
        asked = [p for p in probes(sample) if p.measures in MEASURES]
        images = [image, image, solid(image.size, "black"), *(p.image for p in asked)]
        questions = [question, positive, question, *(p.question for p in asked)]
        watched.attach()
        try:
            with loaded.pictures.reused():
                keys = watched.prefill_keys(images, questions).cpu()
        finally:
            watched.detach()
        width = int(keys.shape[1] // 4)  # mean, last and both
        kinds = dict(zip(POOLS, keys.split([width, width, 2 * width], dim=-1), strict=True))
        said = [a.text for a in untouched.ask(images, questions)]
        shown = [i for i, image in enumerate(images) if image is not None]
        names = untouched.ask([images[i] for i in shown], NAMING)
        called = {i: answer.text for i, answer in zip(shown, names, strict=True)}
        found.append(
            Measured(
                sample,
                kinds,
                np.array([p.measures for p in asked]),
                tuple(said[3:]),
                tuple(called.get(i, "") for i in range(3, len(images))),
                tuple(p.shows for p in asked),
                old_answer([as_said(loaded, text) for text in said[:2]]).text,
                called[0],
            )
        )
    return found


def radii(found: Sequence[Measured], setting: Setting) -> np.ndarray:
    """(N, 3) every edit's radius, and the wide and the tight one that it would have of two."""
    made = []
    for one in found:
        own = one.keys[setting.key]
        near, far = DISTANCES[setting.distance](own[:1], own[1:3])[0].tolist()
        radius = influence_radius([near], far, setting.alpha, keep_degenerate=False).value
        made.append((radius, 0.95 * far, min(1.05 * near, 0.95 * far)))
    return np.array(made)


def fired(
    one: Measured, held: Sequence[Measured], radius: np.ndarray, setting: Setting
) -> np.ndarray:
    """(P,) which of the edits held, with (N, 3) their radii, fires for each of one edit's probes;
    -1 for none."""
    entries = torch.cat([other.keys[setting.key][:1] for other in held])
    far = DISTANCES[setting.distance](one.keys[setting.key][3:], entries).numpy()
    fires = far <= radius[:, 0]
    if setting.scope == "paper":
        fires &= far == far.min(axis=1, keepdims=True)
    for j, other in enumerate(held):
        if setting.scope == "paper" or other.old is None:
            continue
        same = np.array([said == other.old for said in one.answers])
        if setting.scope == "two radii":
            fires[:, j] = far[:, j] <= np.where(same, radius[j, 1], radius[j, 2])
        else:
            fires[:, j] &= same
        if setting.scope == "answer and name":
            fires[:, j] &= np.array([name == other.name for name in one.called])
    return np.where(fires.any(axis=1), np.where(fires, far, np.inf).argmin(axis=1), -1)


def shares(found: Sequence[Measured], setting: Setting, together: bool) -> np.ndarray:
    """Per edit, the share of its probes treated as they should be: (edits, MEASURES and SAME)."""
    every, rows = radii(found, setting), []
    changed = {one.sample.shows for one in found}
    for n, one in enumerate(found):
        held, radius = (found, every) if together else ([one], every[n : n + 1])
        own = n if together else 0
        which = fired(one, held, radius, setting)
        others = changed - {one.sample.shows} if together else set()
        calm = np.array([shown not in others for shown in one.shows])
        same = np.array([said == one.old for said in one.answers])
        right = [which[one.measures == m] == own for m in REACH[1:]]
        right += [which[(one.measures == m) & calm] == -1 for m in KEPT]
        right.append(which[(one.measures == PAPER_LOCALITY) & calm & same] == -1)
        rows.append([r.mean() if len(r) else np.nan for r in right])
    return np.array(rows)


def figures(per_edit: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    """Means in percent, HM of T-Gen, I-Gen and Loc, and HM of each kind of answer."""

    def hm(rows: np.ndarray) -> float:
        return 100 * harmonic_mean(np.nanmean(rows[:, :3], axis=0).tolist())

    means = dict(zip((*MEASURES, SAME), 100 * np.nanmean(per_edit, axis=0), strict=True))
    by_kind = {f"HM {kind}": hm(per_edit[kinds == kind]) for kind in dict.fromkeys(kinds)}
    return {k: round(float(v), 1) for k, v in {**means, "HM": hm(per_edit), **by_kind}.items()}


def run(
    n: Annotated[int, typer.Option(help="Edits, the first of edit-train.")] = 140,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …")] = None,
    out: Annotated[Path | None, typer.Option(help="Write every figure as JSON.")] = None,
) -> None:
    """Print each combination at its best α by HM with all edits held, and keep all."""
    loaded = load_model("pocket", device=device)
    found = measured(loaded, pocket.load("edit-train")[:n])
    kinds = np.array([one.sample.kind for one in found])
    kept: dict[str, dict[str, dict[str, float]]] = {}
    names = list(figures(np.ones((n, len(MEASURES) + 1)), kinds))
    table = Table("key", "distance", "scope", "α", "held", *names, title="scope, percent")
    for key, distance, scope in product(POOLS, DISTANCES, SCOPES):
        rows = {}
        for alpha in ALPHAS:
            setting = Setting(key, distance, scope, alpha)
            both = {
                "1": figures(shares(found, setting, False), kinds),
                str(n): figures(shares(found, setting, True), kinds),
            }
            rows[alpha] = kept[f"{key} key, {distance}, {scope} scope, α {alpha}"] = both
        best = max(rows, key=lambda a: rows[a][str(n)]["HM"])
        for held, row in rows[best].items():
            cells = (f"{v:.1f}" for v in row.values())
            table.add_row(key, distance, scope, str(best), held, *cells)
    Console(width=220).print(table)  # wider than most terminals: scroll, or read the file
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_lines(out, {"part": "edit-train", "n": n, "scope": kept})


if __name__ == "__main__":
    typer.run(run)
