"""MEND's trained network against the untrained one: edits made for real and probed by the
benchmark's own runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from balancedit.bench.contenders import Contender
from balancedit.bench.protocols import PROTOCOLS
from balancedit.bench.provenance import formerly
from balancedit.bench.report import Report, read
from balancedit.bench.runner import Runner, Settings
from balancedit.data.sample import EditSample
from balancedit.editor import Editor
from balancedit.files.durable import digest
from balancedit.files.journal import Journal
from balancedit.models.loading import LoadedModel


def compare(
    loaded: LoadedModel,
    networks: Mapping[str, Path],
    samples: Sequence[EditSample],
    directory: Path,
    about: dict[str, Any],
    start: Callable[[int], None],
    advance: Callable[[str], None],
) -> Report:
    """Probe each edit alone with each network, by the generate protocol.

    networks: label -> file. Results are kept in `directory`, under a name that changes with the
    networks, and go on where they were. start: called with the number of results to come; advance:
    after each.
    """
    protocol = PROTOCOLS["generate"]
    digests = {label: digest(path.read_bytes()) for label, path in networks.items()}
    kept = directory / digest("".join(digests.values()).encode())[:12]
    identity = {"networks": digests, "edits": [s.id for s in samples], "protocol": protocol.name}

    contenders = tuple(
        Contender(label, "mend", "recommended", {"network": path}, None)
        for label, path in networks.items()
    )

    def open_editor(contender: Contender | None, edits: Path | None) -> Editor:
        if contender is None:
            return Editor.on(loaded)
        return contender.editor(loaded, edits)

    runner = Runner(
        samples,
        protocol,
        Settings(contenders),
        Journal(kept, about | identity, {}, formerly=formerly(loaded)),
        open_editor,
        advance,
    )
    start(runner.remaining())
    runner.run()
    return read(kept)
