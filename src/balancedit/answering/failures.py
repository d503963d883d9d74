"""What fails inside a model's own code, which may be anybody's, said in our words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import torch
from torch import nn

from balancedit.errors import ModelError, first_line

#: What the code of models raises where it was given what it does not take. Anything else, such as
#: an interrupt or an error of ours, goes through as it is.
_RAISED = (
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(AssertionError, MemoryError, OSError),
)
_PACKAGE = Path(__file__).parents[1]
_MODELS = (_PACKAGE / "models" / "pocket", _PACKAGE / "models" / "minigpt4")  # code of models too
_NUMERICS = ("torch", "numpy", "accelerate", "safetensors", "bitsandbytes")


@contextmanager
def explained(model: nn.Module, prompts: int) -> Iterator[None]:
    """Inside the context errors of the model's code are `ModelError`, with the original as cause;
    those of this package's own code stay what they are. prompts: how many go through together."""
    try:
        yield
    except _RAISED as error:
        if not _is_of_memory(error) and _is_ours(error.__traceback__):
            raise
        raise ModelError(_said(model, prompts, error)) from error


def _said(model: nn.Module, prompts: int, error: BaseException) -> str:
    name, said = type(model).__name__, first_line(error)
    many = f"{prompts} prompts" if prompts > 1 else "a prompt"
    if _is_of_memory(error):
        remedy = "ask fewer together (batch_size), " if prompts > 1 else ""
        return (
            f"{name} ran out of memory on {many} ({said}); {remedy}load it with dtype bfloat16, or "
            "use a smaller model or another device"
        )
    return (
        f"{name} failed on {many}: {type(error).__name__}: {said}; this comes from the model's own "
        "code: see whether it answers without edits, under this version of its libraries"
    )


def _is_of_memory(error: BaseException) -> bool:
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "out of memory" in str(error).lower()


def _is_ours(traceback: TracebackType | None) -> bool:
    """Whether an error comes from code of this package: the last frame that is neither of it nor of
    a model is in libraries of numbers or of Python's own, which fail for whoever calls them."""
    ours = False
    while traceback is not None:
        frame = traceback.tb_frame
        file = Path(frame.f_code.co_filename)
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if file.is_relative_to(_PACKAGE):
            ours = not any(file.is_relative_to(folder) for folder in _MODELS)
        elif package not in _NUMERICS and package not in sys.stdlib_module_names:
            ours = False
        traceback = traceback.tb_next
    return ours
