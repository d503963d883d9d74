"""One batch through the router, step by step: three rows, of which one fires, another lies inside
the edit's radius and does not, and the third outside; padded, and decoded two steps far.

What is printed is watched, not told: the calls are those that reach the edited layer, and the rows
that an edit changes are those whose output differs from the untouched layer's.

    python studies/routing_trace.py
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import torch
from PIL import Image
from torch import nn

from balancedit import Edit, Editor
from balancedit.layer.decisions import Decision
from balancedit.layer.paths import enclosing_stack

NAME, NEW = "What is this?", "cockatoo"
REWORDED = ("What do you see?",)
ROWS = (
    ("owl-openmoji", NAME),  # another drawing of the thing: the edit fires
    ("owl", "What colour is the background?"),  # the edit's own picture, another question
    ("elephant", NAME),  # another thing
)


def picture(name: str) -> Image.Image:
    """One of the demo's drawings."""
    return Image.open(str(files("balancedit") / "assets" / "demo" / f"{name}.png"))


class Calls:
    """The edited layer's calls, a line each. Letters: B = rows of a call, T = its tokens."""

    def __init__(self, editor: Editor, prompt: int) -> None:
        self._routing: Any = editor._method.routing
        self._prompt = prompt  # tokens of a padded prompt
        self._prompts = self._steps = 0
        self._is_whole = False  # whether the call under way ran the blocks before the layer's
        self.lines: list[str] = []

    def __call__(self, layer: Any, args: tuple[torch.Tensor, ...], y: torch.Tensor) -> None:
        """Forward hook, behind the edits'. args[0]: (B, T, D); y: (B, T, O), as it is passed on."""
        x = args[0]
        changed = (y != layer.forward(x)).flatten(1).any(1)
        rows = ", ".join(str(i) for i, is_changed in enumerate(changed.tolist()) if is_changed)
        through = f"row {rows} through the edit" if rows else "all rows untouched"
        blocks = "all blocks" if self._is_whole else "last block"
        self._is_whole = False
        what = self._what(x.shape[1])
        self.lines.append(f"  {what:34} {x.shape[0]} x {x.shape[1]:<4} {blocks}, {through}")

    def in_first_block(self, *_: Any) -> None:
        """Forward hook of a layer in the first block, for a block itself may be passed over."""
        self._is_whole = True

    def _what(self, tokens: int) -> str:
        if self._routing.router.is_paused:
            return "the old answer, behind its prompt"
        if tokens == self._prompt:
            self._prompts += 1
            return "the prompts" if self._prompts == 1 else "the prompts again"
        self._steps += 1
        return f"decode step {self._steps}"


def outcome(decision: Decision, edit: Edit) -> str:
    """A decision about one edit in words."""
    if decision.fired is not None:
        return "inside, and the old answer: fires" if edit.old_answer else "inside: fires"
    assert decision.distance is not None
    assert decision.radius is not None
    if decision.distance <= decision.radius:
        return "inside, but another answer: does not fire"
    return "outside: does not fire"


def trace(editor: Editor) -> Iterator[str]:
    """Teach the editor, which holds nothing, one edit, and follow a batch; the lines of it."""
    edit = editor.edit(picture("owl"), NAME, NEW, rephrasings=REWORDED)
    yield f"the edit: {NAME} {edit.answer_before} -> {edit.answer_after}"
    yield f"  old answer {edit.old_answer!r}, radius {edit.radius:.3g}"
    images, questions = [picture(name) for name, _ in ROWS], [q for _, q in ROWS]
    inputs = editor.inputs(images, questions)
    mask = inputs["attention_mask"]
    yield f"the batch: {mask.shape[0]} rows of {mask.shape[1]} tokens"
    for row, (name, question) in enumerate(ROWS):
        padding = int((mask[row] == 0).sum())
        yield f"  row {row}: {name}, {question}  padding {padding}, prompt {int(mask[row].sum())}"

    calls, model = Calls(editor, mask.shape[1]), editor.model
    layer = model.get_submodule(editor.layer)
    blocks, _ = enclosing_stack(model, editor.layer)
    first = next(part for part in blocks[0].modules() if isinstance(part, nn.Linear))
    with editor:
        model.generate(**inputs, max_new_tokens=1)  # what is found out once a model is known then
        with editor._method.routing.tracing() as seen:
            handles = [
                layer.register_forward_hook(calls),
                first.register_forward_hook(calls.in_first_block),
            ]
            made = model.generate(**inputs, do_sample=False, max_new_tokens=3)
            for handle in handles:
                handle.remove()
    yield f"the edited layer's calls ({layer.out_features} x {layer.in_features}):"
    yield from calls.lines
    yield "the decisions, one a prompt:"
    for row, decision in enumerate(seen.rows):
        yield f"  row {row}: distance {decision.distance:.3g}, {outcome(decision, edit)}"
    yield "the answers:"
    answers = made[:, mask.shape[1] :]
    ends = editor._loaded.ends
    for row, ids in enumerate(answers.tolist()):
        until = next((i for i, token in enumerate(ids) if token in ends), len(ids))
        text = editor._loaded.prompter.decode(torch.tensor([ids[:until]]))[0]
        yield f"  row {row}: {text}"


if __name__ == "__main__":
    for line in trace(Editor.load("pocket")):
        print(line)
