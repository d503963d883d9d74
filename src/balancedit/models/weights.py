"""Weights from a checkpoint: loaded whole, or refused with the file or weight that is wrong.

transformers fills what a checkpoint lacks with random numbers and leaves out what it does not know,
and its readers raise what they like about a damaged file. Here both become an error that names the
thing and the remedy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.utils.hub import cached_file

from balancedit.errors import BalanceditError, ModelLoadError, first_line
from balancedit.files.names import is_directory, is_file

_POINTER = b"version https://git-lfs.github.com/spec/"
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_WEIGHTS = (".safetensors", ".bin")

#: Endings of names that are no weights: buffers that older versions of transformers kept in their
#: checkpoints, and newer ones work out anew.
_WORKED_OUT = re.compile(
    r"(^|\.)(position_ids|inv_freq|masked_bias|attn\.bias|num_batches_tracked)$"
)


def load_weights(kind: Any, name: str, **options: Any) -> Any:
    """A model with all weights of its checkpoint. kind: a class with `from_pretrained`; name: a hub
    name or a directory; options: as `from_pretrained` takes them.

    Raises `ModelLoadError` for files that are damaged, and for weights that are missing, surplus or
    of another shape, by name. Tied weights and what the architecture declares may be left out of a
    checkpoint, or stand in it, are not counted.
    """
    try:
        model, found = kind.from_pretrained(
            name, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except (BalanceditError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # readers, quantisers and custom code raise nearly anything
        raise ModelLoadError(why_not(name, error)) from error
    _check_whole(name, type(model).__name__, found)
    return model


def damaged_file(folder: Path) -> str | None:
    """What is wrong with the first damaged file of a checkpoint's folder, and the remedy; None
    where nothing is to be seen."""
    for path in sorted(p for p in folder.iterdir() if is_file(p)):
        wrong = _wrong_with(path)
        if wrong is not None:
            return f"'{path}' {wrong}"
    for missing in _unlisted(folder):
        return f"'{folder / missing}' is not there, but the checkpoint's index names it; fetch it"
    return None


def why_not(name: str, error: Exception, what: str = "") -> str:
    """What to say of a checkpoint that cannot be loaded: the file that is damaged, where one is,
    else what the library said. what: the part of it, such as "the processor of "."""
    folder = _folder(name)
    wrong = damaged_file(folder) if folder is not None else None
    if wrong is not None:
        return f"cannot load {what}'{name}': {wrong}"
    remedy = "check the name, or download it and give its directory"
    if isinstance(error, ImportError):
        remedy = "install what it names, or take another checkpoint"
    if "allocate memory" in str(error):
        remedy = "the memory does not suffice; use bfloat16 or a smaller model"
    return f"cannot load {what}'{name}': {first_line(error)} ({remedy})"


def _folder(name: str) -> Path | None:
    """Where a checkpoint's files are, as far as they are on this machine."""
    if is_directory(Path(name)):
        return Path(name)
    try:
        found = cached_file(name, "config.json", local_files_only=True)
    except Exception:  # it is looked for to explain another error
        return None
    return Path(found).parent if found else None


def _wrong_with(path: Path) -> str | None:
    """What is wrong with one file, and the remedy."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(len(_POINTER))
            if head == _POINTER:
                return (
                    "is a Git LFS pointer, not the file itself; run `git lfs pull` in its "
                    "folder, or download the checkpoint with `hf download`"
                )
            if not size and path.suffix in (*_WEIGHTS, ".json"):
                return "is empty; fetch it again"
            if path.suffix == ".safetensors":
                return _wrong_with_tensors(head + file.read(8), size, file)
        if path.suffix == ".json":
            found = json.loads(path.read_bytes())
            if path.name in _INDEXES:
                _shards(found)
        elif path.suffix == ".bin" and head[:2] == b"PK" and not _is_whole_archive(path):
            return "is cut short or damaged; fetch it again"
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        return f"cannot be read ({first_line(error)}); fetch it again"
    return None


def _wrong_with_tensors(head: bytes, size: int, file: Any) -> str | None:
    """The same of a safetensors file: the length of its header, the header, and all it lists."""
    length = int.from_bytes(head[:8], "little")
    if size < 8 or length > size - 8:
        return f"is cut short or no safetensors file ({size:,} bytes); fetch it again"
    file.seek(8)
    header = json.loads(file.read(length))
    ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
    wanted = 8 + length + max(ends, default=0)
    if size != wanted:
        how = "cut short" if size < wanted else "longer than it says"
        return f"is {how}: it has {size:,} bytes, its header speaks of {wanted:,}; fetch it again"
    return None


def _is_whole_archive(path: Path) -> bool:
    import zipfile

    return zipfile.is_zipfile(path)  # its directory stands at the end


def _unlisted(folder: Path) -> Iterator[str]:
    """Files that a sharded checkpoint's index names and that are not there."""
    for name in _INDEXES:
        if is_file(folder / name):
            shards = _shards(json.loads((folder / name).read_bytes()))
            yield from (shard for shard in shards if not is_file(folder / shard))


def _shards(index: Any) -> list[str]:
    """The files that a checkpoint's index names. Raises `ValueError` for one that is no index."""
    named = index.get("weight_map", {}) if isinstance(index, dict) else None
    if not isinstance(named, dict) or not all(isinstance(file, str) for file in named.values()):
        raise ValueError("it is no index of weights")
    return sorted(set(named.values()))


def _check_whole(name: str, kind: str, found: dict[str, Any]) -> None:
    """Raise `ModelLoadError` for weights that did not come as the model has them."""
    misshapen = sorted(found.get("mismatched_keys") or (), key=lambda one: str(one[0]))
    if misshapen:
        key, held, wanted = misshapen[0]
        raise ModelLoadError(
            f"the checkpoint '{name}' does not fit {kind}: its weight '{key}' has the shape "
            f"{tuple(held)}, the model's {tuple(wanted)}{_more(misshapen)}; config.json and "
            "weights are not of one checkpoint: fetch both again"
        )
    missing = _counted(found.get("missing_keys") or ())
    if missing:
        raise ModelLoadError(
            f"the checkpoint '{name}' lacks the weight {_named(missing)} of {kind}, which would be "
            "random; fetch it again, or save the model with all its weights"
        )
    surplus = _counted(found.get("unexpected_keys") or ())
    if surplus:
        raise ModelLoadError(
            f"the checkpoint '{name}' holds {_named(surplus)}, which {kind} has no place for; "
            "config.json names another architecture than that of the weights, or an adapter was "
            "not merged. Where that is meant, load it with transformers and give the model"
        )


def _counted(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not _WORKED_OUT.search(name))


def _named(names: Sequence[str]) -> str:
    return f"'{names[0]}'{_more(names)}"


def _more(found: Sequence[Any]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""
