"""Commands at a server, `--server`, in the place of a model and a store here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balancedit.cli import session
from balancedit.cli.options import DEFAULT_EDITS, ModelOptions, ServerOptions
from balancedit.errors import InputError

if TYPE_CHECKING:
    from balancedit.serving.client.client import Client

#: The names of negative pictures, which `inputs.images.ANCHORS` has; that module takes a moment.
_NAMED = ("black", "white", "grey", "noise")


def client(
    at: ServerOptions,
    edits: Path,
    options: ModelOptions | None = None,
    tenant: str | None = None,
) -> Client | None:
    """The server that is to be asked; None where the work is to be done here. tenant: whose edits
    are meant, where the key is for several. Raises `InputError` for options that only mean
    something here."""
    if not at.server:
        return None
    usual = ModelOptions()
    given = [f.name for f in fields(usual) if options and getattr(options, f.name) != f.default]
    given += ["edits"] if edits != DEFAULT_EDITS else []
    if given:
        raise InputError(
            f"--{given[0]} is for work done here, and the server at {at.server} has a model and "
            "edits of its own; leave one of them out (--server '' works here)"
        )
    from balancedit.serving.client.client import Client
    from balancedit.serving.client.connection import Connection

    tenant = tenant or os.environ.get("BALANCEDIT_TENANT")
    return Client(Connection(at.server, at.key or None, tenant or None))


def pictures(image: str, more: Sequence[str] | None) -> list[str]:
    """What a prompt shows, as data URLs. Raises `InputError`, `ImageError`."""
    from balancedit.serving.client.pictures import data_url

    return [data_url(session.picture_path(name)) for name in (image, *(more or ()))]


def optional_pictures(image: str, more: Sequence[str] | None) -> list[str]:
    """Like `pictures`; ``none`` is no picture."""
    if image != "none":
        return pictures(image, more)
    session.check_alone(more)
    return []


def fact(
    image: str,
    more: Sequence[str] | None,
    question: str,
    answer: str,
    rephrasings: Sequence[str],
    negative: str | None,
    new: bool,
) -> dict[str, Any]:
    """A fact as requests hold it. Raises `InputError`, `ImageError`."""
    from balancedit.serving.client.client import fact as of_pictures

    if negative is not None and negative not in _NAMED:
        (negative,) = pictures(negative, None)
    return of_pictures(
        pictures(image, more),
        question,
        answer,
        rephrasings=rephrasings,
        negative=negative,
        new=new,
    )


def check_length(max_new_tokens: int | None) -> None:
    """Raise `InputError` for a length that a server's explanations cannot be given with."""
    if max_new_tokens is not None:
        raise InputError("a server explains usual lengths; leave --max-new-tokens out")


def check_only_logged(usual: bool) -> None:
    """Raise `InputError` where a preview at a server is to be held against something here."""
    if not usual:
        raise InputError("a server holds previews against its own query log; leave --over out")
