"""The training stage that renders scenes and keeps the frozen vision tower's output.

Letters: R renderings, N image tokens, F features per token.

The tower never trains, so every rendering passes through it once. Worker processes draw; the tower
runs here, on any device. Features are kept in half precision, one safetensors shard for eight
rounds of one style; a shard that exists is whole (written to a temporary name, then renamed), so a
killed run goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from balancedit.models.pocket import artwork, scenes
from balancedit.models.pocket.efficientnet import PocketVisionTower
from balancedit.types import BATCH_SIZE

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
IMAGE_SIDE = 224
SHARD_ROUNDS = 8  # a drawing is parsed once and shown so many times

Shard = tuple[str, int]  # style, number


class _Drawn(Dataset[Tensor]):
    """Batches of scenes, drawn in a worker process as (B, S, S, 3) bytes."""

    def __init__(self, batches: Sequence[Sequence[scenes.Scene]]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> Tensor:
        pictures = [np.asarray(s.render(IMAGE_SIDE)) for s in self._batches[number]]
        return torch.from_numpy(np.stack(pictures))


def normalise(pixels: Tensor) -> Tensor:
    """(B, S, S, 3) bytes -> (B, 3, S, S) float32, the vision tower's input."""
    mean, std = (torch.tensor(x, device=pixels.device) for x in (IMAGE_MEAN, IMAGE_STD))
    return ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)  # channels last in memory


def shards(styles: Sequence[str], rounds: int) -> list[Shard]:
    """The shards that hold `rounds` rounds of every style. Raises ValueError unless they are
    full."""
    if rounds < 1 or rounds % SHARD_ROUNDS:
        raise ValueError(f"rounds come in multiples of {SHARD_ROUNDS}, not {rounds}")
    return [(style, number) for number in range(rounds // SHARD_ROUNDS) for style in styles]


def shard_scenes(shard: Shard) -> list[scenes.Scene]:
    """The scenes of one shard: thing by thing, in the order of `artwork.things()`."""
    style, number = shard
    rounds = range(number * SHARD_ROUNDS, (number + 1) * SHARD_ROUNDS)
    return [scenes.sample(t.name, style, f"train-{r}") for t in artwork.things() for r in rounds]


@torch.no_grad()
def encode(tower: PocketVisionTower, items: Sequence[Sequence[scenes.Scene]]) -> Iterator[Tensor]:
    """Lists of scenes -> for each, its (R, N, F) features in half precision, on the CPU."""
    device = next(tower.parameters()).device
    batches = [
        part[at : at + BATCH_SIZE] for part in items for at in range(0, len(part), BATCH_SIZE)
    ]
    workers = max(0, min(os.cpu_count() or 1, len(batches) - 1))  # one batch is drawn here
    drawn = iter(DataLoader(_Drawn(batches), batch_size=None, num_workers=workers))
    for part in items:
        features = [
            tower(normalise(next(drawn).to(device))).half().cpu()
            for _ in range(0, len(part), BATCH_SIZE)
        ]
        yield torch.cat(features)


def ensure(folder: Path, tower: PocketVisionTower, wanted: list[Shard], progress: Progress) -> None:
    """Compute the shards that are not yet in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tower = tower.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    missing = [shard for shard in wanted if not _file(folder, shard).exists()]
    task = progress.add_task("features", total=len(missing))
    computed = encode(tower, [shard_scenes(shard) for shard in missing])
    for shard, features in zip(missing, computed, strict=True):
        target = _file(folder, shard)
        partial = target.with_suffix(".partial")
        save_file({"features": features}, partial)
        os.replace(partial, target)
        progress.advance(task)


def load(folder: Path, wanted: list[Shard]) -> tuple[Tensor, list[scenes.Scene]]:
    """The shards as one tensor (R, N, F), float16, and their scenes in the same order."""
    features = torch.cat([load_file(_file(folder, shard))["features"] for shard in wanted])
    return features, [scene for shard in wanted for scene in shard_scenes(shard)]


def _file(folder: Path, shard: Shard) -> Path:
    style, number = shard
    return folder / f"{style}-{number}.safetensors"
