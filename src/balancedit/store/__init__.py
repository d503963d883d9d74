"""Where edits are kept: in memory for a session, or in a directory that survives being killed.

This package knows nothing about models: it keeps records, keys and named tensors, and says whom
they belong to (`Binding`). `docs/store.md` describes the files and what is promised about them.
"""

from balancedit.store.directory.store import DiskStore
from balancedit.store.memory import MemoryStore
from balancedit.store.opening import BACKENDS, directory_of, look_into, open_store
from balancedit.store.protocol import Binding, DamagedEdit, EditStore, HeldEdit, HeldEdits
from balancedit.store.terms import AuditEntry, AuditRecord, Done, Request, Terms

__all__ = [
    "BACKENDS",
    "AuditEntry",
    "AuditRecord",
    "Binding",
    "DamagedEdit",
    "DiskStore",
    "Done",
    "EditStore",
    "HeldEdit",
    "HeldEdits",
    "MemoryStore",
    "Request",
    "Terms",
    "directory_of",
    "look_into",
    "open_store",
]
