"""Rebuild the pocket model's adapter:
``python -m balancedit.models.pocket.recipe.train --out DIR``.

Stages: renderings and their features → alignment of the projector → LoRA. Each leaves
its result in DIR, so a run that was killed goes on where it was. docs/pocket.md is the recipe in
words. Needs the extra ``train`` (resvg_py, peft); the artwork extract ships with the
package and is itself rebuilt by `models/pocket/recipe/artwork_build.py`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor

from balancedit.files.compact import write_lines
from balancedit.models.pocket import adapter, artwork, scenes, sources
from balancedit.models.pocket.configuration import PocketConfig
from balancedit.models.pocket.efficientnet import PocketVisionTower
from balancedit.models.pocket.modeling import PocketProjector
from balancedit.models.pocket.recipe import align, features, lora, plain_texts

SEED, ROUNDS, STEPS = 0, 24, 200


def train(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and the adapter.")],
    leave_out: Annotated[
        str | None, typer.Option(help=f"A style not to train on: {', '.join(artwork.STYLES)}.")
    ] = None,
    steps: Annotated[int, typer.Option(help="LoRA steps.")] = STEPS,
    rounds: Annotated[int, typer.Option(help="Renderings of each drawing.")] = ROUNDS,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; default: the fastest.")] = None,
) -> None:
    """Train the adapter and write DIR/adapter.safetensors and DIR/train.json."""
    if leave_out is not None and leave_out not in artwork.STYLES:
        raise typer.BadParameter(f"'{leave_out}' is none of {', '.join(artwork.STYLES)}")
    if rounds < 1 or rounds % features.SHARD_ROUNDS:
        raise typer.BadParameter(f"--rounds must be a multiple of {features.SHARD_ROUNDS}")
    out.mkdir(parents=True, exist_ok=True)
    styles = tuple(s for s in artwork.STYLES if s != leave_out)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    torch.set_float32_matmul_precision("high")
    started = time.perf_counter()
    with _progress() as progress:
        tower = PocketVisionTower(PocketConfig().grid).to(place)
        tower.backbone.load_state_dict(sources.vision_weights())
        shards = features.shards(styles, rounds)
        features.ensure(out / "features", tower, shards, progress)
        shown_features, shown = features.load(out / "features", shards)
        black = next(features.encode(tower, [[scenes.black()]]))[0].to(place)
        language_model: Any = sources.language_model()
        language_model.to(place)
        tokenizer = sources.tokenizer()
        texts = plain_texts.kept(language_model, tokenizer, out / "texts.json", SEED)
        torch.manual_seed(SEED)
        words = align.word_ids(shown, scenes.black(), tokenizer)
        projector = PocketProjector(
            PocketConfig(text_config=language_model.config.to_dict(), summary_words=len(words))
        ).to(place)
        projector.words.copy_(language_model.get_input_embeddings().weight.detach()[words])
        shown_features = shown_features.to(place)
        aligned = _aligned(
            projector, shown_features, shown, black, language_model, tokenizer, out, progress
        )
        torch.manual_seed(SEED + 1)
        trainer = lora.Trainer(
            language_model, tokenizer, projector, shown_features, black, shown, texts
        )
        task = progress.add_task("LoRA", total=steps)
        losses = trainer.run(
            steps,
            out / "lora.safetensors",
            lambda step, loss: progress.update(
                task, completed=step, description=f"LoRA, loss {loss:.3f}"
            ),
        )
    adapter.save(out / "adapter.safetensors", projector, trainer.low_rank())
    record = {
        "seed": SEED,
        "device": place.type,
        "styles": styles,
        "renderings": len(shown),
        "steps": steps,
        "alignment": aligned,
        "lora_losses": [round(x, 4) for x in losses],
        "seconds_of_this_run": round(time.perf_counter() - started),
    }
    write_lines(out / "train.json", record)
    Console().print(f"[bold]{out / 'adapter.safetensors'}[/] is ready")


def _aligned(
    projector: PocketProjector,
    shown_features: Tensor,
    shown: list[scenes.Scene],
    black: Tensor,
    language_model: Any,
    tokenizer: Any,
    out: Path,
    progress: Progress,
) -> list[dict[str, float]]:
    """Run the alignment stage, or take its kept result; the log of its epochs."""
    kept, log_file = out / "aligned.safetensors", out / "aligned.json"
    if kept.exists() and log_file.exists():
        projector.load_state_dict(load_file(kept))
        return list(json.loads(log_file.read_text()))
    align.measure_features(projector, shown_features)
    task = progress.add_task("alignment", total=align.EPOCHS)
    log = align.align(
        projector,
        shown_features,
        shown,
        (black, scenes.black()),
        tokenizer,
        language_model.get_input_embeddings().weight.detach(),
        lambda loss: progress.update(task, advance=1, description=f"alignment, loss {loss:.3f}"),
    )
    save_file(projector.state_dict(), kept)
    log_file.write_text(json.dumps(log))
    return log


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


if __name__ == "__main__":
    typer.run(train)
