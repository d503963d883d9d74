"""`balancedit data …`: the data sets of edits."""

from __future__ import annotations

import typer

from balancedit.cli.data.build import build_okedit
from balancedit.cli.data.check import check
from balancedit.cli.data.fetch import fetch
from balancedit.cli.data.list_ import list_
from balancedit.cli.data.review import review
from balancedit.cli.data.stats import stats

app = typer.Typer(
    help="The data sets of edits: which there are, what they consist of, and how to make one."
)
for _command, _name in (
    (list_, "list"),
    (fetch, "fetch"),
    (check, "check"),
    (stats, "stats"),
    (build_okedit, "build-okedit"),
    (review, "review"),
):
    app.command(_name)(_command)


@app.callback(invoke_without_command=True)
def _start(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
