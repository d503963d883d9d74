"""A tensor that grows by rows without being copied each time. This module knows nothing else."""

from __future__ import annotations

import torch


class Growing:
    """Rows, appended to; room doubles when it runs out, so a row costs the same however many there
    are. start: (n, …) the rows to begin with, which say width and type."""

    def __init__(self, start: torch.Tensor) -> None:
        self._room = start
        self._used = len(start)

    def __len__(self) -> int:
        return self._used

    @property
    def rows(self) -> torch.Tensor:
        """(n, …) all rows; a view that writes through, and is stale after the next change."""
        return self._room[: self._used]

    def append(self, rows: torch.Tensor) -> None:
        """Add (m, …) rows at the end; their type is changed to that of the others."""
        wanted = self._used + len(rows)
        if wanted > len(self._room):
            room = self._room.new_empty(
                (max(wanted, 2 * len(self._room), 16), *self._room.shape[1:])
            )
            room[: self._used] = self.rows
            self._room = room
        self._room[self._used : wanted] = rows
        self._used = wanted

    def keep(self, places: torch.Tensor) -> None:
        """Forget all rows but those at `places` (m,), in this order."""
        self._room = self.rows[places]
        self._used = len(places)
