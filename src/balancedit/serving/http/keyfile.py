"""The file that keys are kept in: JSON that its owner alone can read, with hashes and no key.

A running server sees what is added and removed without being told.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_config_path

from balancedit.errors import InputError, KeyFileError, nearest_names
from balancedit.files.durable import sync_directory
from balancedit.serving.http.keys import (
    EVERY_TENANT,
    SCOPES,
    Key,
    Scope,
    hashed,
    matching,
    new_secret,
)
from balancedit.serving.tenants import check_tenant

FORMAT = 1
_MOST_BYTES = 10_000_000
_LONGEST_NAME = 100


def usual_place() -> Path:
    """Where keys are kept when no other file is named."""
    return user_config_path("balancedit") / "keys.json"


def new_key(name: str, scope: str, tenant: str) -> tuple[str, Key]:
    """A new key: what its owner shows, and what is kept of it. Raises `InputError`."""
    if scope not in SCOPES:
        raise InputError(f"there is no scope '{scope}'{nearest_names(scope, SCOPES)}")
    if tenant != EVERY_TENANT:
        check_tenant(tenant)
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(f"a key's name has at most {_LONGEST_NAME} printable characters")
    secret = new_secret()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return secret, Key(secrets.token_hex(4), name, hashed(secret), scope, tenant, now)


class KeyFile:
    """The keys in one file, which need not be there yet. Every call sees the file as it is just
    then. Raises `KeyFileError` for one that cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self._seen: tuple[int, ...] | None = None
        self._held: tuple[Key, ...] = ()

    def find(self, secret: str) -> Key | None:
        """The key whose secret this is."""
        return matching(secret, self.keys())

    def by_id(self, key_id: str) -> Key | None:
        """The key of this id."""
        return next((key for key in self.keys() if key.id == key_id), None)

    def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first; none where there is no file."""
        try:
            found = self.path.stat()
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
            if seen != self._seen:
                self._held = _read(self.path)
                self._seen = seen
        except FileNotFoundError:
            self._seen, self._held = None, ()
        except OSError as error:
            raise self._failed(error) from error
        return self._held

    def add(self, name: str, scope: str = "ask", tenant: str = EVERY_TENANT) -> tuple[str, Key]:
        """A new key, written before this returns; its secret is nowhere else. Raises
        `InputError`."""
        secret, key = new_key(name, scope, tenant)
        self._prepare()
        with self._lock():
            self._write([*self.keys(), key])
        return secret, key

    def remove(self, beginning: str) -> Key:
        """Remove the key whose id begins so. Raises `InputError` where none, or several, do."""
        self._prepare()
        with self._lock():
            keys = self.keys()
            fitting = [key for key in keys if key.id.startswith(beginning)] if beginning else []
            if len(fitting) != 1:
                known = nearest_names(beginning, [key.id for key in keys])
                raise InputError(
                    f"{len(fitting) or 'no'} keys have an id that begins with '{beginning}'{known}"
                )
            self._write([key for key in keys if key != fitting[0]])
        return fitting[0]

    def _prepare(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._failed(error) from error

    def _lock(self) -> FileLock:
        return FileLock(f"{self.path}.lock", timeout=10, mode=0o600)

    def _write(self, keys: Iterable[Key]) -> None:
        """Write a file that is there whole or not at all, and nobody else's to read at any time."""
        data = {"format": FORMAT, "keys": [asdict(key) for key in keys]}
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
                    json.dump(data, file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self.path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
            sync_directory(self.path.parent)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> KeyFileError:
        return KeyFileError(
            f"'{self.path}': {error.strerror or error}; check the path and its permissions"
        )


def _read(path: Path) -> tuple[Key, ...]:
    """The keys of a file that is there. Raises `OSError`, `KeyFileError`."""
    with open(path, "rb") as file:
        raw = file.read(_MOST_BYTES + 1)
    try:
        if len(raw) > _MOST_BYTES:
            raise ValueError("too long")
        data = json.loads(raw)
        if data["format"] != FORMAT:
            raise ValueError("of another format")
        return tuple(_key(entry) for entry in data["keys"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyFileError(
            f"'{path}' is no file of keys of this version; move it away and add the keys again"
        ) from error


def _key(entry: Any) -> Key:
    values = {field.name: entry[field.name] for field in fields(Key)}
    if not all(isinstance(value, str) for value in values.values()):
        raise ValueError("not a text")
    scope: Scope = SCOPES[SCOPES.index(values.pop("scope"))]
    if len(values["sha256"]) != 64 or not values["sha256"].isascii():
        raise ValueError("no hash")
    return Key(scope=scope, **values)
