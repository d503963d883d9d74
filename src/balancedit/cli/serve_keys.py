"""`balancedit serve keys …`: the keys that callers of a server show."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.options import OutputOptions, with_options
from balancedit.cli.serve_options import KeysOption

app = typer.Typer(help="The keys that callers of the server show.")


@app.callback(invoke_without_command=True)
def _start(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


@app.command("add")
@with_options
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, for your own use.")],
    out: OutputOptions,
    scope: Annotated[
        str,
        typer.Option(
            metavar="SCOPE",
            help="ask, edit (ask too) or admin (everything).",
        ),
    ] = "ask",
    tenant: Annotated[
        str, typer.Option(metavar="NAME", help="Whose edits it is for; *: everybody's.")
    ] = "default",
    keys: KeysOption = None,
) -> dict[str, Any] | None:
    """Make a key, and show it once."""
    from balancedit.serving.http.keyfile import KeyFile, usual_place

    file = KeyFile(keys or usual_place())
    secret, made = file.add(name, scope, tenant)
    if out.json:
        return _shown(made) | {"key": secret}
    print(secret)
    output.note("note", f"key {made.id} is kept in '{file.path}', and shown this once")
    return None


@app.command("list")
@with_options
def list_(out: OutputOptions, keys: KeysOption = None) -> dict[str, Any] | None:
    """List the keys; what their owners show is not kept."""
    from rich.table import Table

    from balancedit.serving.http.keyfile import KeyFile, usual_place

    held = KeyFile(keys or usual_place()).keys()
    if out.json:
        return {"keys": [_shown(key) for key in held]}
    if not held:
        print("no keys")
        return None
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("id", "name", "scope", "tenant", "made"):
        table.add_column(title)
    for key in held:
        made = output.age(key.created)
        table.add_row(key.id, output.cell(key.name), key.scope, key.tenant, made)
    output.console().print(table)
    return None


@app.command("remove")
@with_options
def remove(
    key: Annotated[str, typer.Argument(metavar="ID", help="A key's id, or its beginning.")],
    out: OutputOptions,
    keys: KeysOption = None,
) -> dict[str, Any] | None:
    """Remove a key; a running server refuses it from then on."""
    from balancedit.serving.http.keyfile import KeyFile, usual_place

    removed = KeyFile(keys or usual_place()).remove(key)
    if out.json:
        return _shown(removed)
    print(f"removed {removed.id} ({output.printable(removed.name)})")
    return None


def _shown(key: Any) -> dict[str, Any]:
    """A key without its hash."""
    return {
        "id": key.id,
        "name": key.name,
        "scope": key.scope,
        "tenant": key.tenant,
        "created": key.created,
    }
