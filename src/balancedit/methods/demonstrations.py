"""Demonstrations for in-context editing: how prompts with a new fact in them are to be answered.

Each comes from one record of a training set and teaches one of three things: to copy the fact, to
use it where the question is worded otherwise (update), and to leave it alone where another question
is asked (retain). Source: Zheng et al., *Can We Edit Factual Knowledge by In-Context Learning?*
(2023), Section 3, and their repository.

Letters: N records, B queries, D width of an embedding.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from balancedit.data.sample import EditSample
from balancedit.inputs.wording import fact
from balancedit.types import BATCH_SIZE

Embed = Callable[[Sequence[Image.Image | None], Sequence[str]], torch.Tensor]

_COPY, _UPDATE, _RETAIN = ("copy",), ("update",), ("retain",)
#: What the demonstrations of the records teach, from the nearest record on and round again; several
#: of one record stand in this order. "mixed" is an eighth of the source's 32, copy : update :
#: retain = 4 : 12 : 16; "triples" are EasyEdit's three of every record.
MIXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "mixed": (_RETAIN, _UPDATE, _RETAIN, _UPDATE, _RETAIN, _UPDATE, _RETAIN, _COPY),
    "triples": ((*_COPY, *_UPDATE, *_RETAIN),),
}


def demonstration(sample: EditSample, teaches: str) -> str:
    """One demonstration, with the blank line behind it. teaches: "copy", "update" or "retain"; a
    record that has no probe to retain teaches to update."""
    question, answer = sample.question, sample.target
    kept = [p for p in sample.locality if p.kind in ("same-image", "unrelated") and p.answer]
    if teaches == "retain" and kept:
        question, answer = kept[0].question, str(kept[0].answer)
    elif teaches != "copy" and sample.rephrases:
        question = sample.rephrases[0]
    return f"{fact(sample.question, sample.target)}{question} {answer}\n\n"


class Demonstrations:
    """Records of a training set, found by the embeddings of their pictures and questions.

    The index is made once by `embed` and kept in `folder` under a name that changes with `made_of`:
    whatever else the embeddings depend on (model, layer, data set).
    """

    def __init__(
        self, samples: Sequence[EditSample], embed: Embed, made_of: Sequence[str], folder: Path
    ) -> None:
        self._samples = samples
        digest = hashlib.sha256(json.dumps([len(samples), *made_of]).encode()).hexdigest()[:16]
        self._index = self._kept(folder / f"{digest}.safetensors", embed)  # (N, D)

    def nearest(self, query: torch.Tensor, k: int, mix: str) -> list[str]:
        """What the k records nearest to an embedding (D,) demonstrate, the nearest's last. mix: one
        of `MIXES`."""
        distances = torch.cdist(query[None].cpu().float(), self._index)[0]
        order = distances.argsort(stable=True)[:k].tolist()
        parts = MIXES[mix]
        retrieved = [
            [demonstration(self._samples[n], teaches) for teaches in parts[i % len(parts)]]
            for i, n in enumerate(order)
        ]
        return [one for record in reversed(retrieved) for one in record]

    def _kept(self, file: Path, embed: Embed) -> torch.Tensor:
        try:
            return load_file(file)["embeddings"]
        except (OSError, SafetensorError, KeyError):
            pass  # not there yet, or damaged: made again
        parts = []
        for start in range(0, len(self._samples), BATCH_SIZE):
            batch = self._samples[start : start + BATCH_SIZE]
            parts.append(embed([s.image.open() for s in batch], [s.question for s in batch]))
        index = torch.cat(parts).cpu().float().contiguous()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(f".{os.getpid()}.partial")
            save_file({"embeddings": index}, partial)
            partial.replace(file)
        except OSError:
            pass  # a cache that cannot be written costs time, nothing else
        return index
