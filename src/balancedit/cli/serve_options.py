"""The options of `balancedit serve`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from balancedit.serving.http.settings import ServeSettings

_WHERE = "Where it listens"
_LIMITS = "Limits"
_LOGGED = "What is kept of questions"

KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="The file of keys.",
        show_default="keys.json in the user's configuration",
    ),
]


@dataclass(frozen=True)
class ServeOptions:
    """Where the server listens, what it is called, and its limits."""

    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where to listen; beyond this machine only once there are keys.",
            rich_help_panel=_WHERE,
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, typer.Option(metavar="N", help="0: any that is free.", rich_help_panel=_WHERE)
    ] = 8000
    https: Annotated[
        bool,
        typer.Option(
            "--https",
            help="A proxy in front ends TLS: cookies are for https alone.",
            rich_help_panel=_WHERE,
        ),
    ] = False
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Figures for Prometheus on a port of their own, without a key.",
            show_default="/metrics on the main port, for admin keys",
            rich_help_panel=_WHERE,
        ),
    ] = None
    metrics_host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where that is.", rich_help_panel=_WHERE)
    ] = "127.0.0.1"
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What clients call the model.",
            show_default="the end of --model",
            rich_help_panel=_WHERE,
        ),
    ] = None
    tenant: Annotated[
        list[str] | None,
        typer.Option(
            "--tenant",
            metavar="NAME",
            help="A further tenant, with edits of its own; may be given several times.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    picture_host: Annotated[
        list[str] | None,
        typer.Option(
            "--picture-host",
            metavar="HOST",
            help="A host that pictures may be fetched from; may be given several times.",
            show_default="none, data URLs alone",
            rich_help_panel=_LIMITS,
        ),
    ] = None
    rate: Annotated[
        float,
        typer.Option(
            metavar="N", help="Requests a second and key, over time.", rich_help_panel=_LIMITS
        ),
    ] = 10.0
    burst: Annotated[
        float, typer.Option(metavar="N", help="Requests at once.", rich_help_panel=_LIMITS)
    ] = 60.0
    deadline: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="For an answer, where the caller names no other.",
            rich_help_panel=_LIMITS,
        ),
    ] = 60.0
    max_tokens: Annotated[
        int,
        typer.Option(metavar="N", help="Tokens of an answer at most.", rich_help_panel=_LIMITS),
    ] = 1024
    query_log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep what is asked, without the pictures, so that previews can say what an edit "
            "would change.",
            show_default="nothing is kept",
            rich_help_panel=_LOGGED,
        ),
    ] = None
    query_log_days: Annotated[
        float,
        typer.Option(metavar="N", help="For so many days.", rich_help_panel=_LOGGED),
    ] = 30.0
    query_log_rows: Annotated[
        int,
        typer.Option(metavar="N", help="So many questions at most.", rich_help_panel=_LOGGED),
    ] = 10_000
    drain: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="For requests under way when the server is told to stop.",
            rich_help_panel=_LIMITS,
        ),
    ] = 30.0

    def settings(self) -> ServeSettings:
        """The server's. Raises `InputError`."""
        from balancedit.serving.http.settings import ServeSettings

        return ServeSettings(
            host=self.host,
            port=self.port,
            https=self.https,
            metrics_port=self.metrics_port,
            metrics_host=self.metrics_host,
            picture_hosts=tuple(self.picture_host or ()),
            rate=self.rate,
            burst=self.burst,
            deadline=self.deadline,
            max_tokens=self.max_tokens,
            drain_seconds=self.drain,
        )
