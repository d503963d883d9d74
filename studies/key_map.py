"""The keys of edits and of their probes on a plane, the paper's mean key beside the last token's
(paper, Fig. 7).

    python studies/key_map.py --n 50 --out results/figures

One dot a prompt: the first edits of the data, their rephrasings, their other pictures and the
questions they must leave alone. An edit changes what its layer puts out, never the layer's input,
so the keys are the same whichever edits are held, and none needs to be learned. t-SNE keeps near
things near and says little about distances, so the table beside it is measured between the keys
themselves: how many of the probes have their own edit's key for the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
import typer
from illustrated import Data, Device, Dtype, Model, Out, Part, opened
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.manifold import TSNE

from balancedit.bench.plot_parts import legend
from balancedit.bench.plot_style import INK, MUTED, RULE, SMALL, WIDTH, marks, page, save, style
from balancedit.bench.protocols import probes
from balancedit.codebook.codebook import euclidean
from balancedit.codebook.pooling import last_key, mean_key
from balancedit.data.sample import EditSample
from balancedit.methods.routed import RoutedLayer
from balancedit.models.loading import LoadedModel

KEYS = ("mean", "last")
EDIT = "Acc"  # what measures the edit's own question: its key
#: What is shown, by what the probe measures -> its name.
SHOWN = {
    EDIT: "edit",
    "T-Gen": "rephrasing",
    "I-Gen": "other picture of the thing",
    "similar": "similar thing, same question",
    "same-image": "same picture, other question",
}
_SEED, _PERPLEXITY = 0, 30.0


def both_keys(h: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    """Mean and last-token key side by side. h: (B, T, D), prompt: (B, T) bool -> (B, 2D)."""
    return torch.cat((mean_key(h, prompt), last_key(h, prompt)), dim=-1)


def measure(
    loaded: LoadedModel, samples: Sequence[EditSample]
) -> tuple[dict[str, torch.Tensor], np.ndarray, np.ndarray]:
    """Keys of every prompt shown, (P, D) by kind of key; each prompt's sample, (P,), and what it
    measures, (P,)."""
    watched = RoutedLayer(loaded, both_keys)
    rows, owners, measures = [], [], []
    watched.attach()
    try:
        for i, sample in enumerate(track(samples, "keys", console=Console(stderr=True))):
            asked = [p for p in probes(sample) if p.measures in SHOWN]
            rows.append(watched.prefill_keys([p.image for p in asked], [p.question for p in asked]))
            owners += [i] * len(asked)
            measures += [p.measures for p in asked]
    finally:
        watched.detach()
    mean, last = torch.cat(rows).cpu().chunk(2, dim=-1)
    return {"mean": mean, "last": last}, np.array(owners), np.array(measures)


def nearest_own(keys: torch.Tensor, owners: np.ndarray, measures: np.ndarray) -> dict[str, float]:
    """By kind of probe, the percentage whose nearest edit's key is their own edit's."""
    is_edit = measures == EDIT
    nearest = euclidean(keys, keys[torch.from_numpy(is_edit)]).argmin(-1).numpy()
    own = owners[is_edit][nearest] == owners
    return {m: 100 * float(own[measures == m].mean()) for m in SHOWN if m != EDIT and m in measures}


def plane(keys: torch.Tensor) -> np.ndarray:
    """t-SNE of the keys: (P, D) -> (P, 2); the same every time."""
    values = keys.numpy()
    perplexity = min(_PERPLEXITY, (len(values) - 1) / 3)
    flat = TSNE(init="pca", perplexity=perplexity, random_state=_SEED).fit_transform(values)
    return np.asarray(flat)


def draw(
    places: dict[str, np.ndarray],
    own: dict[str, dict[str, float]],
    owners: np.ndarray,
    measures: np.ndarray,
    about: Sequence[str],
) -> Any:
    """Both planes; a thin line ties each prompt that an edit should reach to the edit."""
    figure, share = page(WIDTH, 5.2, "Keys of edits and of their probes (t-SNE)", about)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, share))
    axes = figure.subplots(1, 2)
    for ax, key in zip(axes, KEYS, strict=True):
        at = places[key]
        keys = {owners[i]: at[i] for i in np.flatnonzero(measures == EDIT)}
        for i in np.flatnonzero(np.isin(measures, ("T-Gen", "I-Gen"))):
            ax.plot(*zip(keys[owners[i]], at[i], strict=True), color=RULE, lw=0.5, zorder=1)
        shown = [kind for kind in SHOWN if kind in measures]
        for order, (kind, mark) in enumerate(zip(shown, marks(len(shown)), strict=True)):
            ring = kind == EDIT  # a ring, so that what lies on its edit is seen
            ax.scatter(
                *at[measures == kind].T,
                s=70 if ring else 13,
                facecolors="none" if ring else mark.colour,
                edgecolors=INK if ring else "white",
                linewidths=0.9 if ring else 0.3,
                marker=mark.marker,
                label=SHOWN[kind],
                zorder=9 - order,
            )
        ax.set_title({"mean": "mean over the prompt (paper)", "last": "last prompt token"}[key])
        ax.spines[:].set(visible=True, color=RULE)
        ax.set_xticks([])
        ax.set_yticks([])
        said = [f"{SHOWN[m]}: {value:.1f} %" for m, value in own[key].items()]
        words = "the nearest edit is their own\n" + "\n".join(said)
        ax.set_xlabel(words, fontsize=SMALL, color=MUTED, linespacing=1.4)
    legend(figure, axes[0], 3)
    return figure


def run(
    out: Out,
    n: Annotated[int, typer.Option(help="Edits, the first of the data.")] = 50,
    model: Model = "pocket",
    data: Data = "okedit-pocket",
    part: Part = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Measure the keys, lay them out, print and draw."""
    loaded, samples, named = opened(model, data, part, device, dtype)
    samples = samples[:n]
    keys, owners, measures = measure(loaded, samples)
    own = {key: nearest_own(keys[key], owners, measures) for key in KEYS}
    table = Table(
        "key", *(SHOWN[m] for m in own["mean"]), title="whose nearest edit is their own, percent"
    )
    for key in KEYS:
        table.add_row(key, *(f"{value:.1f}" for value in own[key].values()))
    Console().print(table)
    about = (
        f"model: {loaded.name}",
        f"layer: {loaded.layer} (input)",
        f"data: {named}, its first {n} edits",
        f"{len(owners)} prompts",
        "Euclidean",
        f"seed {_SEED}",
    )
    with style():
        places = {key: plane(keys[key]) for key in KEYS}
        for path in save(draw(places, own, owners, measures, about), out, "key_map"):
            Console().print(str(path), soft_wrap=True)


if __name__ == "__main__":
    typer.run(run)
