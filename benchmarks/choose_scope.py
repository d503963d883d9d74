"""Choose what makes the key, the distance and α, on *edit-train* things alone.

    python benchmarks/choose_scope.py --n 200 --out results/pocket/scope.json

Scope decisions only, no training: every probe's key is measured once, and for each α the table says
how many rephrasings and other pictures the radius reaches and how many of the questions that must
stay as they are it leaves out. Edits of all kinds of answer count alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from balancedit.bench.metrics import harmonic_mean
from balancedit.bench.protocols import PAPER_LOCALITY, REACH, probes
from balancedit.codebook import DISTANCES
from balancedit.data import pocket
from balancedit.data.sample import EditSample
from balancedit.images import solid
from balancedit.keys import POOLS
from balancedit.methods.routed import RoutedMethod
from balancedit.models.loading import LoadedModel, load_model
from balancedit.rephrasing import rephrase
from balancedit.scope import influence_radius

ALPHAS = tuple(round(0.05 * i, 2) for i in range(21))
KEPT = (PAPER_LOCALITY, "same-image", "unrelated", "black")
MEASURES = (*REACH[1:], *KEPT)


def every_key(h: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    """Every kind of key side by side. h: (B, T, D), prompt: (B, T) bool -> (B, widths of all)."""
    return torch.cat([pool(h, prompt) for pool in POOLS.values()], dim=-1)


def measured(loaded: LoadedModel, samples: Sequence[EditSample], layer: str) -> list[Any]:
    """For each edit its queries' keys by kind, each (queries, its width): edit first, then
    positive, negative and probes; and what the probes measure."""
    watched, found = RoutedMethod(loaded, every_key, layer), []
    watched.attach()
    try:
        for sample in track(samples, layer, console=Console(stderr=True)):
            image, question = sample.image.open(), sample.question
            positive = rephrase(question, 1, loaded.rephraser)[0][0]
            asked = [p for p in probes(sample) if p.measures in MEASURES]
            images = [image, image, solid(image.size, "black"), *(p.image for p in asked)]
            questions = [question, positive, question, *(p.question for p in asked)]
            with loaded.pictures.reused():
                keys = watched.prefill_keys(images, questions).cpu()
            width = int(keys.shape[1] // 4)  # mean, last and both
            kinds = dict(zip(POOLS, keys.split([width, width, 2 * width], dim=-1), strict=True))
            found.append((kinds, np.array([p.measures for p in asked])))
    finally:
        watched.detach()
    return found


def shares(found: list[Any], pool: str, distance: str, alpha: float) -> np.ndarray:
    """Per edit, the share of its probes treated as they should be: (edits, MEASURES)."""
    rows = []
    for keys, measures in found:
        own = keys[pool]
        far = DISTANCES[distance](own[:1], own[1:])[0].numpy()
        radius = influence_radius([float(far[0])], float(far[1]), alpha, keep_degenerate=False)
        inside = far[2:] <= radius.value
        right = [inside[measures == m] == (m in REACH) for m in MEASURES]
        rows.append([r.mean() if len(r) else np.nan for r in right])
    return np.array(rows)


def figures(per_edit: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    """Means in percent, HM of T-Gen, I-Gen and Loc, and HM of each kind of answer."""

    def hm(rows: np.ndarray) -> float:
        return 100 * harmonic_mean(np.nanmean(rows[:, :3], axis=0).tolist())

    means = dict(zip(MEASURES, 100 * np.nanmean(per_edit, axis=0), strict=True))
    by_kind = {f"HM {kind}": hm(per_edit[kinds == kind]) for kind in dict.fromkeys(kinds)}
    return {k: round(float(v), 1) for k, v in {**means, "HM": hm(per_edit), **by_kind}.items()}


def run(
    n: Annotated[int, typer.Option(help="Edits, the first of edit-train.")] = 200,
    blocks: Annotated[str, typer.Option(help="Blocks whose MLP's input makes the key.")] = "29",
    device: Annotated[str | None, typer.Option(help="cpu, cuda …")] = None,
    out: Annotated[Path | None, typer.Option(help="Write every figure as JSON.")] = None,
) -> None:
    """Print each combination's best α by HM, and keep all."""
    loaded = load_model("pocket", device=device)
    samples = pocket.load("edit-train")[:n]
    kinds = np.array([s.kind for s in samples])
    kept: dict[str, dict[str, float]] = {}
    names = list(figures(np.ones((n, len(MEASURES))), kinds))
    table = Table("block", "key", "distance", "α", *names, title="scope, percent")
    for block in blocks.split(","):
        found = measured(loaded, samples, f"model.language_model.layers.{block}.mlp.up_proj")
        for key in POOLS:
            for distance in DISTANCES:
                rows = {a: figures(shares(found, key, distance, a), kinds) for a in ALPHAS}
                for alpha, row in rows.items():
                    kept[f"block {block}, {key} key, {distance}, α {alpha}"] = row
                best = max(rows, key=lambda a: rows[a]["HM"])
                cells = (f"{v:.1f}" for v in rows[best].values())
                table.add_row(block, key, distance, str(best), *cells)
    Console(width=200).print(table)  # wider than most terminals: scroll, or read the file
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"part": "edit-train", "n": n, "scope": kept}, indent=1))


if __name__ == "__main__":
    typer.run(run)
