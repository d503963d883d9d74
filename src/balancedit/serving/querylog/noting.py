"""From answered batches to the query log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from balancedit.answering.generate import GeneratedAnswer
from balancedit.answering.together import Outcome
from balancedit.inputs.pairing import Row
from balancedit.serving.querylog.log import QueryLog
from balancedit.serving.querylog.remembering import noted

if TYPE_CHECKING:
    from balancedit.editor import Editor

_log = logging.getLogger("balancedit.querylog")


class Noting:
    """Notes what an engine answers. Called in the inference thread; it neither waits for a disk nor
    raises."""

    def __init__(self, log: QueryLog) -> None:
        self._log = log
        self._failed = False

    def __call__(
        self, tenant: str, editor: Editor, answered: Sequence[tuple[Row, Outcome]]
    ) -> None:
        """Note rows with what came of them. Those that nobody waited for any more, and whose
        answers therefore ended anywhere, are not to be among them."""
        try:
            way = editor.key_way
            for row, one in answered:
                if isinstance(one, GeneratedAnswer):
                    entry = noted(tenant, row, one, way, editor.text_of)
                    if entry is not None:
                        self._log.note(entry)
        except Exception:
            if not self._failed:
                self._failed = True
                _log.exception("a question could not be noted; answers go on without it")
