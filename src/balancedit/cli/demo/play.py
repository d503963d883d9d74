"""Plays the demo's script on a real editor and keeps what it measured. Prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from balancedit.cli.demo import pictures, script
from balancedit.cli.demo.script import Probe
from balancedit.inputs.answers import same_answer
from balancedit.inputs.images import open_image, solid
from balancedit.types import Answer, Edit, Explanation

if TYPE_CHECKING:
    import torch

    from balancedit.editor import Editor


@dataclass(frozen=True)
class Outcome:
    """A probe's answers before and during the edit."""

    probe: Probe
    before: Answer
    during: Answer

    @property
    def right_before(self) -> bool | None:
        """Whether the untouched model was right; None where nothing is."""
        truth = self.probe.truth
        return None if truth is None else same_answer(self.before.text, truth)

    @property
    def as_hoped(self) -> bool:
        """The new name where the edit should reach, the very same answer everywhere else."""
        if self.probe.reached:
            return same_answer(self.during.text, script.NEW_NAME)
        return self.during.text == self.before.text

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "role": self.probe.role,
            "picture": self.probe.picture,
            "question": self.probe.question,
            "answer_before": self.before.text,
            "right_before": self.right_before,
            "answer_after": self.during.text,
            "hoped": script.NEW_NAME if self.probe.reached else self.before.text,
            "as_hoped": self.as_hoped,
            "fired": self.during.fired,
            "nearest": self.during.nearest,
            "distance": self.during.distance,
            "radius": self.during.radius,
        }


@dataclass(frozen=True)
class Undone:
    """What is left of the edit once it is reverted: nothing, if both are true.

    changed: the largest difference that the edit had made to the logits of its own question.
    """

    logits_equal: bool
    same_answer: bool
    changed: float


class Play:
    """The demo's acts, in order: `ask`, `edit`, `ask_again`, `explain`, `undo`."""

    def __init__(self, editor: Editor, template: str | None = None) -> None:
        self.editor = editor
        self.images = load_pictures()
        self.before: list[Answer] = []
        self.record: Edit | None = None
        self.outcomes: list[Outcome] = []
        self.explanations: list[tuple[Probe, Explanation]] = []
        self._inputs = _inputs(editor, template, self.images[script.PICTURE], script.QUESTION)
        self._logits = self._forward()

    def ask(self) -> list[Answer]:
        """Act 1: every probe's answer before the edit, in one batch."""
        self.before = self._answers()
        return self.before

    def edit(self) -> Edit:
        """Act 2: teach the new name."""
        image = self.images[script.PICTURE]
        self.record = self.editor.edit(image, script.QUESTION, script.NEW_NAME)
        self._edited = self._forward()
        return self.record

    def ask_again(self) -> list[Outcome]:
        """Acts 3 and 4: the same probes with the edit in force."""
        triples = zip(script.PROBES, self.before, self._answers(), strict=True)
        self.outcomes = [Outcome(*t) for t in triples]
        return self.outcomes

    def explain(self) -> list[tuple[Probe, Explanation]]:
        """Act 5: why one answer changed and another did not."""
        drawn = [o for o in self.outcomes if o.probe.role == "drawn"]
        things = [o for o in self.outcomes if o.probe.role == "thing"]
        chosen = (
            next((o for o in drawn if o.during.fired), drawn[0]),
            next((o for o in things if not o.during.fired), things[0]),
        )
        for probe in (o.probe for o in chosen):
            explanation = self.editor.explain(self.images[probe.picture], probe.question)
            self.explanations.append((probe, explanation))
        return self.explanations

    def undo(self) -> Undone:
        """Act 6: revert, and compare the logits of the edited question bit for bit."""
        import torch

        assert self.record is not None
        self.editor.revert(self.record.id)
        after = self._forward()
        answer = self.editor.ask(self.images[script.PICTURE], script.QUESTION)
        return Undone(
            logits_equal=bool(torch.equal(after, self._logits)),
            same_answer=answer.text == self.before[0].text,
            changed=float((self._edited - self._logits).abs().max()),
        )

    def _answers(self) -> list[Answer]:
        return self.editor.ask(
            [self.images[p.picture] for p in script.PROBES], [p.question for p in script.PROBES]
        )

    def _forward(self) -> torch.Tensor:
        """Logits (1, T, V) of the edited question's prompt, T tokens, V = vocabulary."""
        import torch

        with torch.no_grad():
            logits: torch.Tensor = self.editor.forward(self._inputs).logits
        return logits.clone()


def load_pictures() -> dict[str, Image.Image]:
    """Every picture that the script names."""
    found: dict[str, Image.Image] = {}
    for probe in script.PROBES:
        if probe.picture == script.BLACK:
            found[script.BLACK] = solid((pictures.SIDE, pictures.SIDE), "black")
        elif probe.picture not in found:
            found[probe.picture] = open_image(pictures.folder() / f"{probe.picture}.png")
    return found


def _inputs(
    editor: Editor, template: str | None, image: Image.Image, question: str
) -> Mapping[str, torch.Tensor]:
    """The model's inputs for one question, where the model is and in its type."""
    from balancedit.models.prompting import Prompter

    weight = next(editor.model.parameters())
    prompt = Prompter(editor.processor, template=template).inputs([image], [question])
    return {
        name: value.to(weight.device, weight.dtype if value.is_floating_point() else value.dtype)
        for name, value in prompt.items()
    }
