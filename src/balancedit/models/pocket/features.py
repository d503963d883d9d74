"""The training stage that renders scenes and keeps the frozen vision tower's output.

Letters: R renderings in a shard, N image tokens, F features per token.

The tower never trains, so every rendering passes through it once.  Features are kept in half
precision, one safetensors shard per augmentation round and style; a shard that exists is whole
(written to a temporary name, then renamed), so a killed run goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from balancedit.models.pocket import artwork, scenes
from balancedit.models.pocket.efficientnet import PocketVisionTower

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
IMAGE_SIDE = 224
BATCH = 32


def normalise(pictures: list[Image.Image]) -> Tensor:
    """Pictures of equal size -> (B, 3, S, S) float32, the vision tower's input."""
    stacked = np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures])
    pixels = torch.from_numpy(stacked) / 255
    standard = (pixels - torch.tensor(IMAGE_MEAN)) / torch.tensor(IMAGE_STD)
    return standard.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def shard_scenes(style: str, round_number: int) -> list[scenes.Scene]:
    """The scenes of one shard: every thing once, in the order of `artwork.things()`."""
    seed = f"train-{round_number}"
    return [scenes.sample(thing.name, style, seed) for thing in artwork.things()]


def _batches(items: list[scenes.Scene]) -> Iterator[list[scenes.Scene]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


@torch.no_grad()
def encode(tower: PocketVisionTower, items: list[scenes.Scene]) -> Tensor:
    """Scenes -> (R, N, F) features in half precision."""
    parts = [
        tower(normalise([scene.render(IMAGE_SIDE) for scene in batch])).half()
        for batch in _batches(items)
    ]
    return torch.cat(parts)


def ensure(
    folder: Path,
    tower: PocketVisionTower,
    styles: tuple[str, ...],
    rounds: int,
    progress: Progress,
) -> None:
    """Compute the shards that are not yet in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tower = tower.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    wanted = [(style, number) for number in range(rounds) for style in styles]
    task = progress.add_task("features", total=len(wanted))
    for style, number in wanted:
        target = folder / f"{style}-{number}.safetensors"
        if not target.exists():
            partial = target.with_suffix(".partial")
            save_file({"features": encode(tower, shard_scenes(style, number))}, partial)
            os.replace(partial, target)
        progress.advance(task)


def load(folder: Path, styles: tuple[str, ...], rounds: int) -> tuple[Tensor, list[scenes.Scene]]:
    """All shards as one tensor (R, N, F), float16, and their scenes in the same order."""
    features: list[Tensor] = []
    shown: list[scenes.Scene] = []
    for number in range(rounds):
        for style in styles:
            features.append(load_file(folder / f"{style}-{number}.safetensors")["features"])
            shown += shard_scenes(style, number)
    return torch.cat(features), shown
