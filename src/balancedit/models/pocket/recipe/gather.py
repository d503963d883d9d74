"""The first stage of `train_concepts`: the frozen tower's features of every training picture.

Drawings on plain backgrounds and on photographs, groceries and clothes in several views. A shard is
one safetensors file, whole or not there, so a killed run goes on where it was; what each row of it
shows is in its metadata.

Letters: R rows, G cells a side, F features a cell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from balancedit.models.pocket import artwork, concepts, scenes
from balancedit.models.pocket.efficientnet import PocketVisionTower
from balancedit.models.pocket.recipe import photographs
from balancedit.models.pocket.recipe.features import normalise
from balancedit.models.pocket.recipe.photographs import Photograph
from balancedit.types import BATCH_SIZE

ROUNDS, ON_PHOTOGRAPHS = 8, 3  # renderings of each drawing, plain and on photographs
GROCERY_VIEWS, CLOTHES_VIEWS = 12, 2  # of each photograph, beside the whole of it
PHOTO = "photo"  # the background of a drawing on a photograph


@dataclass(frozen=True)
class Label:
    """What a picture shows: a concept, by domain and key; of a drawing its background and count."""

    domain: str
    key: str
    background: str = ""
    count: int = 1


Item = tuple[Label, Callable[[], Image.Image]]


def shards(
    styles: Iterable[str], groceries: list[Photograph], clothes: list[Photograph]
) -> dict[str, Callable[[], Iterator[Item]]]:
    """Shard name -> its pictures."""
    every = [*groceries, *clothes]
    made: dict[str, Callable[[], Iterator[Item]]] = {}
    for style in styles:
        made[f"drawn-{style}"] = lambda style=style: _drawn(style)  # type: ignore[misc]
        made[f"pasted-{style}"] = lambda style=style: _pasted(style, every)  # type: ignore[misc]
    made["groceries"] = lambda: _photographed(groceries, GROCERY_VIEWS)
    made["clothes"] = lambda: _photographed(clothes, CLOTHES_VIEWS)
    return made


def _drawn(style: str) -> Iterator[Item]:
    for thing in artwork.things():
        for number in range(ROUNDS):
            scene = scenes.sample(thing.name, style, f"train-{number}")
            yield Label("drawing", thing.name, scene.background, scene.count), scene.render


def _pasted(style: str, behind: list[Photograph]) -> Iterator[Item]:
    for thing in artwork.things():
        for number in range(ON_PHOTOGRAPHS):
            scene = scenes.sample(thing.name, style, f"train-bg{number}")
            photograph = Random(f"bg{thing.name}{style}{number}").choice(behind)
            seed = f"bg{number}{thing.name}{style}"
            label = Label("drawing", thing.name, PHOTO, scene.count)
            yield label, lambda s=scene, p=photograph, seed=seed: pasted(s, p, seed)  # type: ignore


def pasted(scene: scenes.Scene, photograph: Photograph, seed: str) -> Image.Image:
    """A scene's drawing on a view of a photograph. What shows through it follows from the scene on
    black and on white."""
    dark, light = (
        np.asarray(replace(scene, rgb=(level,) * 3).render(), dtype=np.float32)
        for level in (0, 255)
    )
    through = (light - dark) / 255
    behind = np.asarray(photographs.view(photograph, seed), dtype=np.float32)
    return Image.fromarray((dark + through * behind).clip(0, 255).astype(np.uint8))


def _photographed(shown: list[Photograph], views: int) -> Iterator[Item]:
    folders = {name: folder for folder, name in concepts.CLOTHES.items()}
    for one in shown:
        if one.product:
            label = Label("grocery", one.product.key)
        else:
            label = Label("clothes", folders[one.name])
        yield label, lambda p=one: squeezed(p.open())  # type: ignore[misc]
        for number in range(views):
            yield label, lambda p=one, v=f"v{number}": photographs.view(p, v)  # type: ignore[misc]


def squeezed(image: Image.Image) -> Image.Image:
    """A picture as the model's processor makes it: whole, not cropped, square."""
    side = photographs.SIDE
    return image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)


def ensure(
    folder: Path,
    tower: PocketVisionTower,
    wanted: dict[str, Callable[[], Iterator[Item]]],
    progress: Progress,
) -> None:
    """Compute the shards that are not yet in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tower = tower.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    missing = {
        n: items for n, items in wanted.items() if not (folder / f"{n}.safetensors").exists()
    }
    task = progress.add_task("features", total=len(missing))
    for name, items in missing.items():
        labels, parts = [], []
        rest = items()
        while batch := list(islice(rest, BATCH_SIZE)):
            labels += [asdict(label) for label, _ in batch]
            parts.append(encode(tower, [picture() for _, picture in batch]))
        target = folder / f"{name}.safetensors"
        partial = target.with_suffix(".partial")
        save_file({"cells": torch.cat(parts)}, partial, {"labels": json.dumps(labels)})
        partial.replace(target)
        progress.advance(task)


@torch.no_grad()
def encode(tower: PocketVisionTower, pictures: list[Image.Image]) -> Tensor:
    """(R, G·G, F) features, half precision; the tower's convolutions run in bfloat16."""
    device = next(tower.parameters()).device
    pixels = normalise(torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).to(device))
    with torch.autocast(device.type, torch.bfloat16):
        return tower(pixels).half().cpu()


def load(folder: Path, names: Iterable[str]) -> tuple[Tensor, list[Label]]:
    """Shards as one tensor (R, G·G, F), float16, and what its rows show."""
    parts, labels = [], []
    for name in names:
        with safe_open(folder / f"{name}.safetensors", framework="pt") as file:
            parts.append(file.get_tensor("cells"))
            labels += [Label(**row) for row in json.loads(file.metadata()["labels"])]
    return torch.cat(parts), labels
