"""The options that commands share, each defined once.

A command takes a group of options by annotating a parameter with one of the dataclasses here and
wearing `@with_options`: the command line then shows the dataclass's fields, and the command gets
the dataclass.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

_MODEL = "Model"
_GENERAL = "General"
_SERVER = "Server"

ImageArgument = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        help="A picture file, or demo:NAME for one that comes with the package (demo:owl).",
    ),
]
OptionalImageArgument = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        help="A picture file, demo:NAME for one that comes with the package (demo:owl), or none "
        "to ask without a picture.",
    ),
]
MoreImagesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        metavar="IMAGE",
        help="A further picture of the same prompt, behind IMAGE; may be given several times.",
    ),
]
QuestionArgument = Annotated[
    str, typer.Argument(metavar="QUESTION", help="What to ask about the picture.")
]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="An edit's id, or the beginning of it.")
]
LengthOption = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens",
        metavar="N",
        min=1,
        help="Tokens of the answer at most.",
        show_default="32, or as many as the answer that was taught takes",
    ),
]
DEFAULT_EDITS = "edits"
EditsOption = Annotated[
    str,
    typer.Option(
        "--edits",
        metavar="DIR",
        help="Where the edits are kept: a directory, or another address (scheme://place).",
    ),
]


@dataclass(frozen=True)
class ModelOptions:
    """Which model is edited, how, and where it runs."""

    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A bundled model (see `balancedit models`), a hub name or a directory.",
            rich_help_panel=_MODEL,
        ),
    ] = "pocket"
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Dotted path of the linear layer to edit; see `balancedit models` for known ones.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Prompt of a model without a chat template, with {image} and {question}.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The editing method: balancedit, ft, grace, ike or mend.",
            rich_help_panel=_MODEL,
        ),
    ] = "balancedit"
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The method's settings: recommended, paper, paper/blip2-opt or paper/minigpt4.",
            rich_help_panel=_MODEL,
        ),
    ] = "recommended"
    network: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The method's trained network (mend); pocket has its own.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="cpu, cuda, cuda:1, mps …, or auto: all devices together.",
            rich_help_panel=_MODEL,
        ),
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="float32, bfloat16 or float16.", rich_help_panel=_MODEL),
    ] = None


@dataclass(frozen=True)
class ServerOptions:
    """A server that has the model and its edits, in the place of ones here."""

    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="BALANCEDIT_SERVER",
            help="Ask the server there (`balancedit serve`), which has model and edits.",
            rich_help_panel=_SERVER,
        ),
    ] = None
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="BALANCEDIT_KEY",
            help="The server's key. Others on this machine can read a command line; the variable "
            "is safer.",
            rich_help_panel=_SERVER,
        ),
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """What is printed."""

    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object on standard output and nothing else.",
            rich_help_panel=_GENERAL,
        ),
    ] = False
    # `main` looks for it itself, since it also matters when the arguments cannot be parsed.
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Show the traceback of an error, and what the libraries say.",
            rich_help_panel=_GENERAL,
        ),
    ] = False


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Spread a command's dataclass parameters into options of their own.

    The wrapper's signature has a keyword for every field; called with them, it builds the
    dataclasses and calls `command`.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind):
            groups[parameter.name] = kind
            types = get_type_hints(kind, include_extras=True)
            parameters += [_keyword(f.name, types[f.name], f.default) for f in fields(kind)]
        else:
            parameters.append(_keyword(parameter.name, kind, parameter.default))

    @wraps(command)
    def spread(**values: Any) -> Any:
        for name, group in groups.items():
            values[name] = group(**{f.name: values.pop(f.name) for f in fields(group)})
        return command(**values)

    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {p.name: p.annotation for p in parameters}
    return spread


def _keyword(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
