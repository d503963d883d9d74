"""Tenants: who they are, and where the edits of each are kept. No tenant's store knows of another.

The default tenant's edits are where the server was told to keep edits, so that the command line
works on them too; the others' are in directories below, or in memory where those are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from balancedit.errors import InputError, StoreError
from balancedit.files.regular import check_directory
from balancedit.serving.engine.protocol import DEFAULT_TENANT

#: What a tenant may be called: it becomes the name of a directory, and part of a model's.
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: "base" stands for the untouched model; the others are no names of directories everywhere.
_TAKEN = frozenset(
    (
        "base",
        "con",
        "prn",
        "aux",
        "nul",
        *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10)),
    )
)
#: Below the default tenant's directory.
_BELOW = "tenants"


def check_tenant(name: str) -> str:
    """A tenant's name. Raises `InputError` for what is none."""
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise InputError(
            f"'{name[:80]}' cannot be a tenant's name; take up to 63 of a-z, 0-9, - and _, and not "
            "'base'"
        )
    return name


class UnknownTenantError(InputError):
    """A tenant that the server does not have."""


@dataclass(frozen=True)
class Tenants:
    """The tenants that there are. edits: where the default one's are, as for `Editor.on`. Raises
    `InputError` for names that are none, none at all, and several whose edits have no places."""

    names: tuple[str, ...] = (DEFAULT_TENANT,)
    edits: str | Path | None = None

    def __post_init__(self) -> None:
        if not self.names:
            raise InputError("the server has no tenant; name one, or leave the usual one")
        for name in self.names:
            check_tenant(name)
        several = {*self.names} - {DEFAULT_TENANT}
        if several and self._directory is None and not self._in_memory:
            raise InputError(
                f"edits at '{self.edits}' are one tenant's; give a directory for several"
            )

    @property
    def _in_memory(self) -> bool:
        return self.edits in (None, "memory://")

    @property
    def _directory(self) -> Path | None:
        """The default tenant's, where edits are in one."""
        if self.edits is None:
            return None
        scheme, found, place = str(self.edits).partition("://")
        if not found or isinstance(self.edits, Path):
            return Path(self.edits)
        return Path(place) if scheme == "directory" else None

    def place(self, name: str) -> str | Path | None:
        """The address of a tenant's edits. Raises `UnknownTenantError`, and `StoreError` where
        something else than a directory, such as a link, is on the way to it."""
        if name not in self.names:
            raise UnknownTenantError("there is no such tenant here")
        root = self._directory
        if name == DEFAULT_TENANT or root is None:
            return self.edits
        path = root.expanduser() / _BELOW / name
        for one in (path.parent, path):
            try:
                check_directory(one)
            except FileNotFoundError:
                break
            except OSError as error:
                raise StoreError(f"the edits of tenant '{name}': {error}") from error
        return path
