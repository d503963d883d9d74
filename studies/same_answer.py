"""Other things to which the untouched model gives an edit's old answer: what could sink the
answer-aware scope, which goes by that answer.

    python studies/same_answer.py --out results/bench/same-answer
    python -m balancedit.models.pocket.recipe.train --leave-out noto --out loo
    python studies/same_answer.py --adapter loo/adapter.safetensors --style noto \\
        --out results/bench/unsure
    python studies/same_answer.py --n 3 --things 20 --style noto --out few   # a minute

Answers that are no name are shared by many things, and the data's own probes of Loc are such
things. A name is shared only where the model misnames something. So every drawing of every thing is
shown to the untouched model; what it calls by the name of an edited thing, and calls so again when
asked with the edit's question, becomes a probe of that edit, "same-answer". Edits that have such
probes are run as `balancedit bench run` runs them, one held at a time, by free generation.

With --style the edits are those whose own picture is by that artist, whether they have such probes
or not, and other things are shown in that artist's drawings alone: with a model that was trained
without the artist, a base that is unsure. Edits are grouped by what the untouched model says to
them: "right", "wrong", or "unsure", when it says something else to a rewording of the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from balancedit import Editor
from balancedit.bench import contenders
from balancedit.bench.metrics import exact_match
from balancedit.bench.protocols import PROTOCOLS, SAME_ANSWER
from balancedit.bench.provenance import formerly, provenance, summary
from balancedit.bench.report import FORMS, read
from balancedit.bench.runner import Runner, Settings
from balancedit.data import pocket
from balancedit.data.sample import EditSample, LocalityProbe, digest
from balancedit.files.journal import Journal
from balancedit.inputs.answers import same_answer
from balancedit.models import pocket as model_of_pocket
from balancedit.models.loading import BUNDLED, LoadedModel, load_model
from balancedit.models.pocket import artwork, scenes
from balancedit.scope.rephrasing import rephrase
from balancedit.types import BATCH_SIZE

NAMING = "What is this?"
MOST = 6  # probes an edit
METHODS = ",".join(
    (
        "balancedit",
        "balancedit+scope=paper",
        "balancedit+key=last+distance=cosine+alpha=0.95+scope=paper",
        "grace",
    )
)


def loaded_with(adapter: Path | None) -> LoadedModel:
    """The default model, or the same with another adapter."""
    if adapter is None:
        return load_model("pocket")
    bundled = BUNDLED["pocket"]
    model, processor = model_of_pocket.load(adapter=adapter)
    made = load_model(model, processor=processor, layer=bundled.layer)
    return replace(
        made,
        name=f"pocket with {adapter.parent.name}/{adapter.name}",
        edit_lr=bundled.edit_lr,
        low_rank_lr=bundled.low_rank_lr,
        rephraser=bundled.rephraser(),
    )


def asked(
    editor: Editor, shown: Sequence[pocket.SceneImage], questions: Sequence[str]
) -> list[str]:
    """What the untouched model says about pictures."""
    said = []
    starts = range(0, len(shown), BATCH_SIZE)
    for at in track(starts, "asking", console=Console(stderr=True), transient=True):
        pictures = [image.open() for image in shown[at : at + BATCH_SIZE]]
        answers = editor.ask(pictures, list(questions[at : at + BATCH_SIZE]))
        said += [answer.text for answer in answers]
    return said


def state(editor: Editor, loaded: LoadedModel, samples: Sequence[EditSample]) -> list[str]:
    """What the untouched model makes of each edit: "right", "wrong" or "unsure"."""
    reworded = [rephrase(s.question, 1, loaded.rephraser)[0][0] for s in samples]
    shown: Any = [s.image for s in samples]
    first = asked(editor, shown, [s.question for s in samples])
    second = asked(editor, shown, reworded)
    return [
        "unsure"
        if not same_answer(one, other)
        else "right"
        if exact_match(one, sample.original_answer)
        else "wrong"
        for sample, one, other in zip(samples, first, second, strict=True)
    ]


def with_probes(
    editor: Editor, samples: Sequence[EditSample], pool: Sequence[pocket.SceneImage]
) -> list[EditSample]:
    """The edits with a probe for each picture in the pool of another thing that the untouched model
    calls what it calls the edit's own, `MOST` at most; edits of other answers as they are."""
    called: dict[str, list[pocket.SceneImage]] = {}
    for image, name in zip(pool, asked(editor, pool, [NAMING] * len(pool)), strict=True):
        called.setdefault(name, []).append(image)
    made = []
    for sample in track(samples, "matching", console=Console(stderr=True), transient=True):
        if sample.kind == "name":
            old = editor.ask(sample.image.open(), sample.question).text
            others = [i for i in called.get(old, []) if i.scene.thing != sample.shows][:MOST]
            said = asked(editor, others, [sample.question] * len(others))
            probes: list[Any] = [
                LocalityProbe(SAME_ANSWER, image, sample.question, None, image.scene.thing)  # type: ignore[arg-type]  # no data set holds this kind: it depends on the model
                for image, text in zip(others, said, strict=True)
                if text == old
            ]
            sample = replace(sample, locality=(*sample.locality, *probes))
        made.append(sample)
    return made


def run(
    out: Annotated[Path, typer.Option(help="Directory for the results; a killed run goes on.")],
    adapter: Annotated[Path | None, typer.Option(help="Another adapter than the shipped.")] = None,
    style: Annotated[str | None, typer.Option(help="The artist of the edits' pictures.")] = None,
    n: Annotated[int | None, typer.Option(help="The first so many edits; all by default.")] = None,
    things: Annotated[int | None, typer.Option(help="Things shown; all by default.")] = None,
    methods: Annotated[str, typer.Option(help="As for `balancedit bench run`.")] = METHODS,
) -> None:
    """Find the probes, run the edits, print the tables."""
    chosen = contenders.parse_all(methods)
    loaded = loaded_with(adapter)
    untouched = Editor.on(loaded)
    samples = pocket.load("edit-eval")[:n]
    if style is not None:
        samples = [s for s in samples if s.image.describe()["style"] == style]
    pool = [
        pocket.SceneImage(scenes.sample(thing.name, artist, "same-answer"))
        for thing in artwork.things()[:things]
        for artist in ((style,) if style else artwork.STYLES)
    ]
    samples = with_probes(untouched, samples, pool)
    if style is None:
        samples = [s for s in samples if any(p.kind == SAME_ANSWER for p in s.locality)]
    states = state(untouched, loaded, samples)
    samples = [replace(s, category=now) for s, now in zip(samples, states, strict=True)]
    identity = {
        "model": loaded.name,
        "fingerprint": loaded.fingerprint(),
        "layer": loaded.layer,
        "data": pocket.NAME,
        "part": f"edit-eval, {style or 'every'} artist",
        "digest": digest(samples, source=artwork.EXTRACT_SHA256),
        "protocol": "generate",
    }
    settings = {c.name: c.config() | c.binding(loaded) for c in chosen}
    journal = Journal(out, identity, provenance(loaded), settings, formerly=formerly(loaded))
    runner = Runner(
        samples,
        PROTOCOLS["generate"],
        Settings(chosen),
        journal,
        lambda contender, edits: (
            Editor.on(loaded) if contender is None else contender.editor(loaded, edits)
        ),
        lambda _: None,
    )
    runner.run()
    journal.summarise(summary(out, loaded))
    print(FORMS["md"](read(out, "category")))
    print(FORMS["md"](read(out, "kind")))


if __name__ == "__main__":
    typer.run(run)
