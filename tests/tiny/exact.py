"""A tiny model whose weights are the same bits on every machine, for stores that are kept as test
data: random numbers drawn by torch differ in their last bits from one processor to another.

`python -m tiny.exact DIR` makes such a store with the code that is there; `tests/store/format3` was
made so by the last code that wrote format 3.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tiny
from balancedit import Editor

QUESTION, REWORDED = "what is this?", "what's it?"
#: The edits of a kept store: the picture's seed, and what is taught of it.
TAUGHT = {1: "ab", 2: "xyz"}
SETTINGS: dict[str, Any] = {"preset": "paper", "key": "mean", "alpha": 0.5, "lr": 0.3, "steps": 200}


def llava() -> tuple[Any, Any]:
    """The model, every weight a whole number of 512ths, and its processor."""
    model, processor = tiny.llava()
    rng = np.random.default_rng(7)
    with torch.no_grad():
        for _, p in sorted(model.named_parameters()):
            if p.dim() > 1 or p.unique().numel() > 1:  # norms and biases are ones and zeros
                drawn = rng.integers(-128, 129, tuple(p.shape)).astype(np.float32)
                p.copy_(torch.from_numpy(drawn / 512))
    return model, processor


def editor(**how: Any) -> Editor:
    """An editor of that model; how: more for `Editor.load`."""
    model, processor = llava()
    return Editor.load(model, **{"processor": processor, **SETTINGS, **how})


def main(directory: Path) -> None:
    """Make a store with the two edits."""
    made = editor(edits=directory)
    for seed, answer in TAUGHT.items():
        edit = made.edit(tiny.picture(seed), QUESTION, answer, rephrasings=[REWORDED])
        print(edit.id, edit.answer_before, edit.answer_after, edit.loss, edit.radius, edit.warnings)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
