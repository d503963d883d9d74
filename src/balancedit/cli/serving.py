"""The parts of a server, made from the command line's options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from balancedit.cli import output, session
from balancedit.cli.options import ModelOptions
from balancedit.cli.serve_options import ServeOptions
from balancedit.serving.engine.protocol import DEFAULT_TENANT
from balancedit.serving.http.keyfile import KeyFile, new_key, usual_place
from balancedit.serving.http.keys import EVERY_TENANT, HeldKeys, KeyRing, Rings
from balancedit.serving.http.metrics import Metrics
from balancedit.serving.http.running import check_exposed
from balancedit.serving.http.services import Services
from balancedit.serving.http.settings import ServeSettings
from balancedit.serving.tenants import Tenants

if TYPE_CHECKING:
    from balancedit.serving.querylog import QueryLog


def keys(file: Path | None, settings: ServeSettings) -> tuple[KeyRing, str | None]:
    """The keys of a file; where it has none, one for everything that ends with the server, and what
    its owner shows. Keys that the file gets later count in either case. Raises `InputError` where
    others than this machine could reach the server."""
    kept = KeyFile(file or usual_place())
    check_exposed(settings, bool(kept.keys()))
    if kept.keys():
        return kept, None
    secret, key = new_key("temporary", "admin", EVERY_TENANT)
    return Rings(HeldKeys(key), kept), secret


@contextmanager
def services(
    options: ModelOptions,
    serving: ServeOptions,
    settings: ServeSettings,
    ring: KeyRing,
    edits: str,
    *,
    debug: bool,
) -> Iterator[Services]:
    """The model with its edits, in a thread of its own until the context ends."""
    tenants = Tenants(tuple(dict.fromkeys((DEFAULT_TENANT, *(serving.tenant or ())))), edits)
    name = serving.name or options.model.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
    metrics = Metrics()
    with output.working(f"loading {options.model} …"):
        loaded = session.load_alone(
            options.model,
            options.layer,
            options.device,
            options.dtype,
            prompt=options.prompt,
            debug=debug,
        )
        from balancedit.serving.engine.editors import Editors, editor_for
        from balancedit.serving.engine.worker import Worker
        from balancedit.serving.querylog.noting import Noting

        log = query_log(serving)
        own = {"network": options.network} if options.network is not None else {}
        opening = editor_for(loaded, tenants, method=options.method, preset=options.preset, **own)
        editors = Editors(opening, Noting(log) if log else None)
        editors.warm_up(tenants.names)
        worker = Worker(editors, watch=metrics.turn)
    worker.start()
    try:
        yield Services(
            worker,
            ring,
            settings,
            model=name,
            tenants=tenants.names,
            metrics=metrics,
            stored=editors.stored,
            queries=log,
        )
    finally:
        worker.stop(settings.drain_seconds)
        if log is not None:
            log.close()
    editors.close()  # the application has drained the engine


def query_log(serving: ServeOptions) -> QueryLog | None:
    """The query log, where one is wanted. One that cannot be opened is said, and nothing is logged:
    answers matter more. Raises `InputError` for a retention that is none."""
    from balancedit.serving.querylog import QueryLog, QueryLogError, Retention

    if serving.query_log is None:
        return None
    kept = Retention(serving.query_log_days, serving.query_log_rows)
    try:
        return QueryLog.open(serving.query_log, kept)
    except QueryLogError as error:
        output.note("warning", f"{error}; questions are not logged")
        return None
