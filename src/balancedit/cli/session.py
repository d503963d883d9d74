"""Opening what the commands work on: pictures, a model with its edits, or the edits alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, closing
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balancedit.cli import output
from balancedit.cli.options import DEFAULT_EDITS, ModelOptions
from balancedit.errors import InputError, nearest_names
from balancedit.files.names import exists, expanded, is_directory

if TYPE_CHECKING:
    from balancedit.editor import Editor
    from balancedit.inputs.pictures import Picture
    from balancedit.models.loading import LoadedModel
    from balancedit.store import DamagedEdit, EditStore

DEMO = "demo:"
_PACKAGE = "balancedit"


def picture_path(image: str) -> Path | str:
    """The file of a picture argument, or a data URL as it is. ``demo:NAME`` is a picture that comes
    with the package.

    Raises `InputError` for a demo picture that does not exist; files are checked when opened.
    """
    from balancedit.inputs.text import is_data_url

    if is_data_url(image):
        return image
    if not image.startswith(DEMO):
        return Path(image)
    folder = Path(str(files(_PACKAGE) / "assets" / "demo"))
    known = sorted(p.stem for p in folder.glob("*.png"))
    name = image.removeprefix(DEMO)
    if name not in known:
        raise InputError(f"no demo picture '{name}'{nearest_names(name, known)}")
    return folder / f"{name}.png"


def pictures(image: str, more: Sequence[str] | None) -> Picture:
    """What a prompt shows: the picture argument, and those of ``--image`` behind it. Raises
    `InputError`, `ImageError`."""
    from balancedit.inputs.pictures import Pictures, open_pictures

    return open_pictures(Pictures(*(picture_path(name) for name in (image, *(more or ())))))


def optional_pictures(image: str, more: Sequence[str] | None) -> Picture | None:
    """Like `pictures`; ``none`` is no picture. (A file of that name: ``./none``.)"""
    if image != "none":
        return pictures(image, more)
    check_alone(more)
    return None


def check_alone(more: Sequence[str] | None) -> None:
    """Raise `InputError` for further pictures behind ``none``."""
    if more:
        raise InputError("'none' asks without a picture; give the first one in its place")


def load_editor(options: ModelOptions, edits: str | None, *, debug: bool) -> Editor:
    """The chosen model with the edits kept for it; damaged edits are named on standard error.

    edits: the store's address, made when missing; None keeps edits in memory.
    """
    with output.working(f"loading {options.model} …"):
        if not debug:
            _silence()
        from balancedit.editor import Editor

        _check_device(options.device)
        own: dict[str, Any] = {"network": options.network} if options.network is not None else {}
        editor = Editor.load(
            options.model,
            edits=edits,
            method=options.method,
            preset=options.preset,
            layer=options.layer,
            prompt=options.prompt,
            device=options.device,
            dtype=options.dtype,
            **own,
        )
    warn_of_damage(editor)
    return editor


def warn_of_damage(editor: Editor, known: Collection[DamagedEdit] = ()) -> None:
    """Name on standard error the edits that are left out since their files are damaged, but for
    those that are `known`: in a large store some are only found out when they fire."""
    for damaged in editor.damaged:
        if damaged not in known:
            output.note("warning", f"edit {damaged.id} is left out: {damaged.reason}")


def load_alone(
    model: str,
    layer: str | None,
    device: str | None,
    dtype: str | None,
    *,
    prompt: str | None = None,
    debug: bool,
) -> LoadedModel:
    """A model without edits."""
    if not debug:
        _silence()
    from balancedit.models.loading import load_model

    _check_device(device)
    return load_model(model, layer=layer, prompt=prompt, device=device, dtype=dtype)


def existing_edits(edits: str) -> str | None:
    """`edits` where it holds a store (or is something no store can be made of, for the store to
    say so); None where it is a directory that holds none yet, so that asking a question does not
    make one. Raises `StoreError` for an address of an unknown kind."""
    from balancedit.store import directory_of

    named = directory_of(edits)
    if named is None:
        return edits
    folder = expanded(named)
    if exists(folder / "store.sqlite3") or (exists(folder) and not is_directory(folder)):
        return edits
    if edits != DEFAULT_EDITS:
        output.note("warning", f"no edit store in '{edits}'; the untouched model answers")
    return None


def open_store(edits: str) -> AbstractContextManager[EditStore]:
    """The edits alone, without a model. Raises `StoreError` when there is no store."""
    from balancedit.store import look_into

    return closing(look_into(edits))


def _silence() -> None:
    """Keep the libraries' progress bars and advice off the terminal; must run before they load."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.simplefilter("ignore")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _check_device(name: str | None) -> None:
    """Raise `InputError` for a device that torch does not know or this machine lacks."""
    if name is None or name == "auto":
        return
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device '{name}'; give cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda":
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= there:
            remedy = f"the last one is cuda:{there - 1}" if there else "use --device cpu"
            raise InputError(f"there is no device '{name}' here; {remedy}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"there is no device '{name}' here; use --device cpu")
