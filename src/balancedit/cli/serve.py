"""`balancedit serve`: the model and its edits over HTTP, until the process is told to stop."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from balancedit.cli import serve_keys
from balancedit.cli.options import DEFAULT_EDITS, ModelOptions, with_options
from balancedit.cli.serve_options import KeysOption, ServeOptions
from balancedit.errors import BalanceditError

app = typer.Typer(help="Serve a model with its edits over HTTP, with a page to correct it on.")
app.add_typer(serve_keys.app, name="keys")


@app.callback(invoke_without_command=True)
@with_options
def serve(
    ctx: typer.Context,
    options: ModelOptions,
    serving: ServeOptions,
    keys: KeysOption = None,
    edits: Annotated[
        str,
        typer.Option(metavar="DIR", help="Where edits are kept: a directory, made when missing."),
    ] = str(DEFAULT_EDITS),
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error at start.")
    ] = False,
) -> dict[str, Any] | None:
    """Serve a model with its edits over HTTP, with a page to correct it on."""
    if ctx.invoked_subcommand is not None:
        return None
    try:
        from balancedit.serving.http import logs, running
        from balancedit.serving.http.app import create_app
    except ModuleNotFoundError as error:
        raise BalanceditError(
            f"serving needs {error.name}; install it with `pip install 'balancedit[serve]'`"
        ) from error
    from balancedit.cli import serving as parts

    settings = serving.settings()
    ring, secret = parts.keys(keys, settings)
    with running.bound(settings.host, settings.port) as listening:
        logs.start()
        with parts.services(options, serving, settings, ring, edits, debug=debug) as services:
            address = running.address(listening, settings.https)
            app = create_app(services)
            running.run(app, settings, listening, lambda: _say(address, services.model, secret))
    return None


def _say(address: str, model: str, secret: str | None) -> None:
    """Where the server is, and how to come in."""
    print(f"serving {model} at {address}  (Ctrl-C ends it)")
    if secret is None:
        print(f"page  {address}/", flush=True)
        return
    print(f"page  {address}/#key={secret}")
    print(f"key   {secret}")
    print(
        "It may do everything and ends with the server; `balancedit serve keys add` makes others."
    )
    sys.stdout.flush()
