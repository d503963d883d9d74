"""The two kinds of file beside the database: one tensor file per edit, and all keys in one.

Nothing here locks: whoever writes holds the database's write lock, so there is only one writer.
D = width of a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from balancedit.errors import StoreError
from balancedit.files.durable import digest, sync_directory
from balancedit.files.regular import check_directory, check_regular, opened, read_regular

if TYPE_CHECKING:  # torch takes a second to import; looking at records must not wait for it
    import numpy as np
    import torch

KEYS = "keys.bin"
EDITS = "edits"
#: How the numbers of a key are written, by the `key_type` of what a store belongs to.
KEY_FORMS = {"float32": "<f4", "float16": "<f2"}
#: Ids as the editor makes them. Narrow on purpose: they become file names, and only files named
#: like this are ever deleted.
ID, ID_SAID = r"[0-9a-f]{8,64}", "8 or more of the characters 0-9 and a-f"
_OURS = re.compile(rf"^(?:({ID})\.safetensors|\.{ID}\.safetensors\.tmp)$")
#: Bytes of one edit's tensors, at most: a full float32 weight of the widest layers in use is a
#: quarter of it. What a stranger's record says must not decide how much memory is asked for.
LARGEST = 4 * 2**30


class Damage(Exception):
    """Contents that are missing or not what was committed; the text says which and how."""


def tensor_path(root: Path, edit_id: str) -> Path:
    """Where an edit's tensors are; `StoreError` for an id that is not ours."""
    if not re.fullmatch(ID, edit_id):
        raise StoreError(f"edit id '{edit_id}' is not {ID_SAID}")
    return root / EDITS / f"{edit_id}.safetensors"


def make_place(root: Path) -> None:
    """Make the directory of tensor files where there is none: git and some archives drop an empty
    one. Raises OSError where a link or a file is in its place."""
    (root / EDITS).mkdir(exist_ok=True)
    check_directory(root / EDITS)


def remove_tensors(root: Path, edit_id: str) -> None:
    """Delete an edit's tensor file, if it is there."""
    path = tensor_path(root, edit_id)
    check_directory(path.parent)
    path.unlink(missing_ok=True)


def pack(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file."""
    import safetensors.torch
    import torch

    # Clones, because safetensors refuses views and tensors that share memory.
    own = {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }
    return safetensors.torch.save(own)


def key_bytes(key: torch.Tensor, form: str) -> bytes:
    """Key (D,) float32 as little-endian bytes; form: one of `KEY_FORMS`' values."""
    return key.numpy().astype(form, copy=False).tobytes()


def write_key(root: Path, index: int, data: bytes) -> None:
    """Put a key at position `index` of the keys file, on the disk when this returns.

    Whatever a killed writer left at that position is overwritten.
    """
    path = root / KEYS
    new = not path.exists()
    with opened(path, write=True, create=True) as file:
        file.seek(index * len(data))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_directory(root)


def read_key(root: Path, index: int, width: int, form: str, sha256: str) -> bytes:
    """The bytes of the key at position `index`; `Damage` when it is not the one committed."""
    import numpy as np

    size = int(form[-1]) * width
    try:
        with opened(root / KEYS) as file:
            file.seek(index * size)
            data = file.read(size)
    except OSError as error:
        raise Damage(f"{KEYS} cannot be read ({error.strerror})") from error
    if len(data) != size:
        raise Damage(f"its key is missing from {KEYS}, which has been cut short")
    if digest(data) != sha256:
        raise Damage(f"its key in {KEYS} does not match its checksum")
    _check_finite(np.frombuffer(data, dtype=form))
    return data


def _check_finite(key: np.ndarray) -> None:
    import numpy as np

    if not np.isfinite(key).all():
        raise Damage(f"its key in {KEYS} holds numbers that are not finite")


def map_keys(root: Path, width: int | None, form: str) -> np.ndarray:
    """(M, D) all whole keys of the keys file, read from the disk where they are looked at; none
    where the file cannot be read."""
    import numpy as np

    path = root / KEYS
    width = width or 0
    try:
        check_regular(path)
        count = path.stat().st_size // (int(form[-1]) * width) if width else 0
        if count:  # an empty file cannot be mapped
            mapped = np.memmap(path, dtype=form, mode="c", shape=(count, width))
            return np.asarray(mapped, dtype=mapped.dtype.newbyteorder("="))
    except OSError:
        pass
    return np.empty((0, width), dtype=np.dtype(form).newbyteorder("="))


def check_key(keys: np.ndarray, index: int, sha256: str) -> None:
    """`Damage` unless row `index` of `map_keys` is the key that was committed."""
    if index >= len(keys):
        raise Damage(f"its key is missing from {KEYS}, which has been cut short or lost")
    if digest(keys[index].astype(keys.dtype.newbyteorder("<"), copy=False)) != sha256:
        raise Damage(f"its key in {KEYS} does not match its checksum")
    _check_finite(keys[index])


def check_size(path: Path, size: int) -> None:
    """`Damage` where an edit's tensor file is not there, or not as long as what was committed."""
    name = f"{EDITS}/{path.name}"
    _check_claim(name, size)
    try:
        check_directory(path.parent)
        check_regular(path)
        found = path.stat().st_size
    except OSError as error:
        raise Damage(f"{name} is missing or cannot be read ({error.strerror})") from error
    if found != size:
        raise Damage(f"{name} has {found} bytes instead of {size}")


def _check_claim(name: str, size: int) -> None:
    if not 0 < size <= LARGEST:
        raise Damage(f"{name} should have {size} bytes, which no edit's tensors have")


def unpack_key(data: bytes, form: str) -> torch.Tensor:
    """`key_bytes` undone: a key (D,) float32."""
    import numpy as np
    import torch

    return torch.from_numpy(np.frombuffer(data, dtype=form).astype(np.float32))


def read_tensors(path: Path, size: int, sha256: str) -> bytes:
    """The bytes of an edit's tensor file; `Damage` when the file is not the one committed."""
    name = f"{EDITS}/{path.name}"
    _check_claim(name, size)
    try:
        check_directory(path.parent)
        data = read_regular(path, size)
    except FileNotFoundError as error:
        raise Damage(f"{name} is missing") from error
    except OSError as error:
        raise Damage(f"{name} cannot be read ({error.strerror})") from error
    if len(data) != size:
        had = f"{len(data)} bytes" if len(data) < size else "more bytes"
        raise Damage(f"{name} has {had} instead of {size}")
    if digest(data) != sha256:
        raise Damage(f"{name} does not match its checksum")
    return data


def unpack(data: bytes) -> dict[str, torch.Tensor]:
    """`pack` undone: tensors by name. `Damage` for bytes that are none, and for numbers that are
    not finite; names and shapes are the method's to judge."""
    import safetensors
    import safetensors.torch
    import torch

    floating = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    whole = (torch.uint8, torch.int32, torch.int64, torch.bool)
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise Damage(f"its tensors cannot be read ({error})") from error
    for name, tensor in tensors.items():
        if tensor.dtype not in (*floating, *whole):
            raise Damage(f"its tensor '{name}' is of type {tensor.dtype}, which no edit has")
        if tensor.dtype in floating and not bool(tensor.isfinite().all()):
            raise Damage(f"its tensor '{name}' holds numbers that are not finite")
    return tensors


def leftovers(root: Path, wanted: Iterable[str]) -> list[Path]:
    """Files of ours that belong to no edit in `wanted`: what killed writers left behind."""
    keep = set(wanted)
    with suppress(FileNotFoundError):
        check_directory(root / EDITS)  # what a link leads to is not ours to delete
        found = ((entry, _OURS.match(entry.name)) for entry in os.scandir(root / EDITS))
        return [Path(e.path) for e, match in found if match and match.group(1) not in keep]
    return []
