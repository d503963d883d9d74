"""How near is near enough: what tests may ask of numbers and texts from two passes.

Bit for bit is promised for the same batch shape on the same machine, through the same kernels: a
row that fires nothing, an edit taken back, a store opened again. It is asserted with `torch.equal`.

Everything else is near. Kernels cut a product into tiles by its shape, the processor's instructions
and the threads at work, and each cut rounds otherwise: a batch and its singles, a prompt padded on
the other side, with a cache and without, pictures encoded together and one by one. Such numbers are
compared by the tolerances here. Training starts from such numbers and takes tens of steps, so that
what was learned differs more than what was read.

Texts are choices among logits, so they are the same unless two tokens were as good as equal. The
tests' random models are what they are on every machine, near-ties included; `least_margin` finds
those, and only there may a text differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch

from balancedit import Editor

#: Of one pass through a tiny model, relative to the largest number there: float32 has 24 bits, and
#: a few layers of random weights leave about 17 of them; bfloat16 has 8, and leaves 2.
READ = {torch.float32: 1e-4, torch.float16: 0.05, torch.bfloat16: 0.25}
#: Of what some ten steps of training made from such numbers, in float32.
LEARNED = 1e-2
#: Logits nearer to one another than this share of their spread may change places: ten times `READ`.
TIE = 1e-3


def assert_near(found: torch.Tensor, expected: torch.Tensor, share: float | None = None) -> None:
    """Of two passes of other shapes: apart by no more than a share of the largest number expected;
    `READ` of the type, unless one is given."""
    share = READ[expected.dtype] if share is None else share
    scale = expected.float().abs().max().item()
    torch.testing.assert_close(found.float(), expected.float(), rtol=0, atol=share * scale)


def assert_alike(found: Any, expected: Any, share: float = LEARNED, where: str = "") -> None:
    """Records, rows and whatever they consist of: the same, floating-point numbers by a share of
    themselves. What is near zero, such as a loss or a distance, by the same amount."""
    if isinstance(expected, float) and isinstance(found, float):
        assert found == pytest.approx(expected, rel=share, abs=share), where
    elif is_dataclass(expected) and type(found) is type(expected):
        for name in (f.name for f in fields(expected)):
            assert_alike(getattr(found, name), getattr(expected, name), share, f"{where}.{name}")
    elif isinstance(expected, Mapping) and isinstance(found, Mapping):
        assert found.keys() == expected.keys(), where
        for name, value in expected.items():
            assert_alike(found[name], value, share, f"{where}.{name}")
    elif isinstance(expected, (list, tuple)) and type(found) is type(expected):
        assert len(found) == len(expected), where
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_alike(one, other, share, f"{where}[{i}]")
    else:
        assert found == expected, where


def margins(scores: Sequence[torch.Tensor]) -> list[float]:
    """Scores of each step, (B, V) -> each row's smallest distance between the best token and the
    next, as a share of how far the logits spread."""
    steps = torch.stack([step.float() for step in scores])  # (steps, B, V)
    best = steps.topk(2).values
    steps = steps.masked_fill(steps.isinf(), torch.nan)  # tokens that may not be said
    spread = best[..., 0] - steps.nanmean(-1)
    apart = (best[..., 0] - best[..., 1]) / spread
    return [float(row) for row in apart.min(0).values]


def least_margin(editor: Editor, image: Any, question: str, tokens: int = 32) -> float:
    """The smallest of `margins` on the way to a greedy answer, edits in force."""
    inputs = editor._loaded.prompter.inputs([image], [question])
    with torch.no_grad(), editor:
        said = editor.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=tokens,
            output_logits=True,
            return_dict_in_generate=True,
        )
    return margins(said.logits)[0]


def assert_same_text(
    found: str, expected: str, editor: Editor, image: Any, question: str, tokens: int = 32
) -> None:
    """Two greedy answers to one prompt, which may differ only by a tie."""
    if found != expected:
        margin = least_margin(editor, image, question, tokens)
        assert margin < TIE, f"'{found}' is not '{expected}', at a margin of {margin:.2g}"


def as_good(row: int, other_row: int, run: Any, other: Any) -> bool:
    """Whether two generations may say different things in a row of each: beams whose scores are
    equal, or a greedy choice between tokens that are. run, other: what `generate` returns with
    ``return_dict_in_generate`` and ``output_scores``."""
    beams = [getattr(r, "sequences_scores", None) for r in (run, other)]
    if beams[0] is not None and beams[1] is not None:
        one, two = float(beams[0][row]), float(beams[1][other_row])
        return abs(one - two) < TIE * abs(one)
    return margins(run.scores)[row] < TIE
