"""The demo's words. Every ✓, ✗ and number in them is computed from what the model answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from balancedit.cli import output
from balancedit.cli.demo import script
from balancedit.cli.explain import bar
from balancedit.inputs.answers import same_answer
from balancedit.types import Answer, Edit, Explanation

if TYPE_CHECKING:
    from balancedit.cli.demo.play import Outcome, Undone
    from balancedit.cli.demo.script import Probe


class Story:
    """Tells each act when it has been played."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def opening(self, model: str, pictures: int) -> None:
        """What is going to happen."""
        self._say(
            f"The model is {model}, a vision-language model: it looks at a picture and answers "
            f"questions about it. It will learn one new fact, give it away wherever it should, "
            f"keep all its other answers, say why, and forget it again. The demo uses {pictures} "
            "small pictures that come with the package."
        )

    def asked(self, answers: Sequence[Answer]) -> None:
        """Act 1."""
        self._act(1, f"Ask about a picture: an {script.THING} on yellow")
        table = self._table()
        right = total = 0
        for probe, answer in zip(script.PROBES, answers, strict=True):
            if probe.picture != script.PICTURE or probe.role == "rephrased":
                continue
            good = same_answer(answer.text, probe.truth or "")
            right, total = right + good, total + 1
            table.add_row(mark(good), "", probe.question, output.printable(answer.text), "")
        self._console.print(table)
        self._say(f"{right} of {total} right. This is the model as it came.", dim=True)

    def edited(self, record: Edit) -> None:
        """Act 2."""
        self._act(2, f"Teach it a new answer: this {script.THING} is called {record.target}")
        before, after = (
            output.printable(a or "") for a in (record.answer_before, record.answer_after)
        )
        self._say(
            f"“{record.question}” was “{before}” and is now “{after}”: learned in "
            f"{record.seconds:.1f} s as edit {record.id}."
        )
        source = {"model": "the model's own rewording", "rules": "a rewording by rule"}
        words = source.get(record.positives_source, "the rewording given")
        self._say(
            f"How far should it reach? {words[:1].upper()}{words[1:]}, “{record.positives[0]}”, "
            f"lies {output.number(record.d_positive)} away and must be inside; a black picture "
            f"lies {output.number(record.d_negative)} away and must be outside. Hence the radius: "
            f"{output.number(record.radius)}.",
        )
        if record.old_answer is not None:
            old = output.printable(record.old_answer)
            self._say(
                f"Inside it the edit fires where the untouched model would say “{old}”: other "
                "questions about the same picture have other answers."
            )
        for warning in record.warnings:
            self._say(f"Note: {warning}.", dim=True)

    def held(self, outcomes: Sequence[Outcome]) -> None:
        """Act 3."""
        self._act(3, "Ask again: other words, other artists' drawings")
        self._outcomes([o for o in outcomes if o.probe.reached])

    def kept(self, outcomes: Sequence[Outcome]) -> None:
        """Act 4."""
        self._act(4, "What must not change: other questions, other things, a black picture")
        self._outcomes([o for o in outcomes if not o.probe.reached])

    def explained(self, explanations: Sequence[tuple[Probe, Explanation]]) -> None:
        """Act 5."""
        self._act(5, "Why? Distance against radius")
        for probe, explanation in explanations:
            answer = explanation.answer
            self._say(f"{probe.question} [{probe.picture}] → {output.printable(answer.text)}")
            if answer.distance is not None and answer.radius is not None:
                line = Text("   ")
                line.append(bar(answer.distance, answer.radius, 36), style="cyan")
                line.append(
                    f"  distance {output.number(answer.distance)}, "
                    f"radius {output.number(answer.radius)}",
                    style="dim",
                )
                self._console.print(line)
            self._say(explanation.reason, dim=True)

    def undone(self, undone: Undone) -> None:
        """Act 6."""
        self._act(6, "Forget it again")
        table = self._table()
        table.add_row(mark(undone.same_answer), "", script.QUESTION, "the first answer again", "")
        equal = "as before the edit, bit for bit" if undone.logits_equal else "not as before"
        table.add_row(mark(undone.logits_equal), "", "the model's logits", equal, "")
        self._console.print(table)
        self._say(f"(The edit had moved the logits by up to {undone.changed:.3g}.)", dim=True)

    def closing(
        self,
        checks: Sequence[bool],
        seconds: float,
        picture: str,
        explained: Sequence[Probe],
        chosen: str,
    ) -> None:
        """Act 7. chosen: the options that choose the model of this demo, as typed."""
        hoped, total = sum(checks), len(checks)
        self._act(7, "The whole story in one picture")
        self._console.print(f"   {picture}", style="bold", soft_wrap=True)
        verdict = f"{hoped} of {total} checks came out as hoped, in {seconds:.0f} s."
        if hoped < total:
            verdict += f" The other {total - hoped} are marked ✗ above: edits are not perfect."
        self._say(verdict)
        self._say("Try it yourself:")
        for command in (
            f'edit demo:{script.PICTURE} "{script.QUESTION}" {script.NEW_NAME}{chosen}',
            f'ask demo:{explained[0].picture} "{script.QUESTION}"{chosen}',
            f'explain demo:{explained[1].picture} "{script.QUESTION}"{chosen}',
            "list",
        ):
            self._console.print(f"   balancedit {command}", style="cyan", soft_wrap=True)
        self._say("Then with a picture of yours: demo:owl may be any file.", dim=True)

    # -- inside ------------------------------------------------------------------------------

    def _act(self, number: int, title: str) -> None:
        self._console.print()
        self._console.print(f"{number}  {title}", style="bold")

    def _say(self, text: str, *, dim: bool = False) -> None:
        line = Text(text, style="dim" if dim else "")
        self._console.print(Padding(line, (0, 0, 0, 3), expand=False))

    def _outcomes(self, outcomes: Sequence[Outcome]) -> None:
        table = self._table()
        for o in outcomes:
            fired = "the edit" if o.during.fired else "the model"
            before, after = output.printable(o.before.text), output.printable(o.during.text)
            same = o.before.text == o.during.text
            change = f"{after}, as before" if same else f"{before} → {after}"
            table.add_row(mark(o.as_hoped), o.probe.picture, o.probe.question, change, fired)
        self._console.print(table)
        good = sum(o.as_hoped for o in outcomes)
        self._say(f"{good} of {len(outcomes)} as hoped.", dim=True)

    @staticmethod
    def _table() -> Table:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for style in ("", "dim", "", "bold", "dim"):
            table.add_column(style=style, overflow="fold")
        table.columns[0].header = ""
        return table


def mark(good: bool) -> Text:
    """✓ or ✗, indented."""
    return Text("   ✓" if good else "   ✗", style="green" if good else "red")
