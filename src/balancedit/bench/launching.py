"""Starting a run of contenders on a loaded model: editors, journal and runner together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from balancedit.bench.contenders import Contender
from balancedit.bench.protocols import EvaluationProtocol
from balancedit.bench.provenance import formerly, provenance, summary
from balancedit.bench.runner import Runner, Settings
from balancedit.data.sample import EditSample
from balancedit.editor import Editor
from balancedit.files.journal import Journal
from balancedit.models.loading import LoadedModel


def launch(
    loaded: LoadedModel,
    samples: Sequence[EditSample],
    protocol: EvaluationProtocol,
    settings: Settings,
    directory: Path,
    identity: Mapping[str, Any],
    start: Callable[[int], None],
    advance: Callable[[str], None],
) -> None:
    """Run what is not yet done and put a summary beside it.

    start: called with the number of results to come; advance: after each. Raises `ResultsError`
    where the directory holds results of another identity, or of other settings of a contender.
    """
    models = {None: loaded} | {
        c.layer: loaded.at(c.layer) for c in settings.contenders if c.layer is not None
    }

    def open_editor(contender: Contender | None, edits: Path | None) -> Editor:
        if contender is None:
            return Editor.on(loaded)
        return contender.editor(models[contender.layer], edits)

    known = {c.name: c.config() | c.binding(models[c.layer]) for c in settings.contenders}
    journal = Journal(
        directory, dict(identity), provenance(loaded), known, formerly=formerly(loaded)
    )
    runner = Runner(samples, protocol, settings, journal, open_editor, advance)
    start(runner.remaining())
    runner.run()
    journal.summarise(summary(directory, loaded))
