"""Rebuild the adapter of the pocket model that sees photographs:
``python -m balancedit.models.pocket.recipe.train_concepts --out DIR --groceries … --clothes …``.

Stages: features of drawings and photographs → classifiers → plain conversations by the untouched
language model → LoRA. Each leaves its result in DIR, so a run that was killed goes on where it was.
docs/pocket.md is the recipe in words. Needs the extra ``train`` (resvg_py, peft).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from balancedit.files.compact import write_lines
from balancedit.models.pocket import adapter, artwork, concepts, sources
from balancedit.models.pocket.concept_projector import ConceptProjector
from balancedit.models.pocket.configuration import PocketConfig
from balancedit.models.pocket.efficientnet import PocketVisionTower
from balancedit.models.pocket.recipe import gather, heads, photographs, plain_texts
from balancedit.models.pocket.recipe.dialogues import Seen
from balancedit.models.pocket.recipe.gather import PHOTO, Label
from balancedit.models.pocket.recipe.taught_rows import Pictures
from balancedit.models.pocket.recipe.teach import Teacher

SEED, STEPS, TEXTS = 0, 240, 192
TAUGHT_EVERY = {"drawing": 2, "grocery": 6, "clothes": 3}  # rows that the last stage sees


def train(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and the adapter.")],
    groceries: Annotated[Path, typer.Option(help="GroceryStoreDataset's folder `dataset`.")],
    clothes: Annotated[Path, typer.Option(help="The clothes' folder, which holds `train`.")],
    leave_out: Annotated[
        str | None, typer.Option(help=f"A style not to train on: {', '.join(artwork.STYLES)}.")
    ] = None,
    steps: Annotated[int, typer.Option(help="LoRA steps.")] = STEPS,
) -> None:
    """Train the adapter and write DIR/adapter.safetensors and DIR/train.json."""
    if leave_out is not None and leave_out not in artwork.STYLES:
        raise typer.BadParameter(f"'{leave_out}' is none of {', '.join(artwork.STYLES)}")
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    config = PocketConfig()
    with Progress(console=Console(stderr=True)) as progress:
        tower = PocketVisionTower(config.grid).eval()
        tower.backbone.load_state_dict(sources.vision_weights())
        black = tower_features(tower, Image.new("RGB", (photographs.SIDE,) * 2))
        shards = gather.shards(
            [s for s in artwork.STYLES if s != leave_out],
            photographs.grocery_photographs(groceries),
            photographs.clothes_photographs(clothes),
        )
        gather.ensure(out / "features", tower, shards, progress)
        cells, labels = gather.load(out / "features", shards)
        language_model: Any = sources.language_model()
        tokenizer = sources.tokenizer()
        texts = plain_texts.kept(language_model, tokenizer, out / "texts.json", SEED, TEXTS)
        words = language_model.get_input_embeddings().weight.detach()
        projector = ConceptProjector(config.grid, config.projector_size, words.shape[1])
        projector.complete(sources.vision_classifier(), tokenizer, words)
        losses = _classifiers(projector, cells, labels, black, out / "heads.safetensors", progress)
        torch.manual_seed(SEED + 1)
        shown = _taught(cells, labels, black)
        start = adapter.load(adapter.shipped())[1]
        model = language_model.to(torch.bfloat16)
        teacher = Teacher(model, tokenizer, projector, shown, texts, start)
        task = progress.add_task("LoRA", total=steps)
        taught = teacher.run(
            steps,
            out / "lora.safetensors",
            lambda step, loss: progress.update(
                task, completed=step, description=f"LoRA, loss {loss:.3f}"
            ),
        )
    adapter.save(out / "adapter.safetensors", projector, teacher.low_rank())
    record = {
        "seed": SEED,
        "left_out": leave_out,
        "pictures": len(labels),
        "classifiers": losses,
        "steps": steps,
        "lora_losses": [round(x, 4) for x in taught],
        "seconds_of_this_run": round(time.perf_counter() - started),
    }
    write_lines(out / "train.json", record)
    Console().print(f"[bold]{out / 'adapter.safetensors'}[/] is ready")


def tower_features(tower: PocketVisionTower, picture: Image.Image) -> Tensor:
    """(G·G, F) of one picture."""
    return gather.encode(tower, [picture])[0].float()


def _classifiers(
    projector: ConceptProjector,
    cells: Tensor,
    labels: list[Label],
    black: Tensor,
    kept: Path,
    progress: Progress,
) -> list[float]:
    """Train the classifiers, or take their kept result; and take over the cells' layers of the
    model that knows drawings alone."""
    log = kept.with_suffix(".json")
    if kept.exists() and log.exists():
        projector.load_state_dict(projector.state_dict() | load_file(kept))
        return list(json.loads(log.read_text()))
    torch.manual_seed(SEED)
    known = heads.targets(labels)
    heads.measure(projector, cells, known, black)
    task = progress.add_task("classifiers", total=heads.EPOCHS)
    losses = heads.train(
        projector, cells, known, black, lambda loss: progress.update(task, advance=1)
    )
    take_cells(projector, adapter.load(adapter.shipped())[0])
    save_file(projector.learned(), kept)
    log.write_text(json.dumps(losses))
    return losses


@torch.no_grad()
def take_cells(projector: ConceptProjector, before: dict[str, Tensor]) -> None:
    """Take over the layers that make a token of each cell from a projector that standardised its
    features otherwise; the tokens are the same."""
    weight = before["linear_1.weight"]
    moved = weight @ ((projector.mean - before["mean"]) / before["std"])
    projector.linear_1.weight.copy_(weight * (projector.std / before["std"]))
    projector.linear_1.bias.copy_(before["linear_1.bias"] + moved)
    projector.linear_2.weight.copy_(before["linear_2.weight"])
    projector.linear_2.bias.copy_(before["linear_2.bias"])
    projector.position.copy_(before["position"])


def _taught(cells: Tensor, labels: list[Label], black: Tensor) -> Pictures:
    """Some of the pictures for the last stage; no drawing on a photograph."""
    numbers, every = concepts.numbers(), concepts.concepts()
    rows = [
        row
        for row, label in enumerate(labels)
        if label.background != PHOTO and row % TAUGHT_EVERY[label.domain] == 0
    ]
    seen = [
        Seen(every[numbers[label.domain, label.key]], label.background, label.count)
        for label in (labels[row] for row in rows)
    ]
    return Pictures(cells[rows], seen, black)


if __name__ == "__main__":
    typer.run(train)
