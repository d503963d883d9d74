"""The keys of a codebook, exact, where only those that are asked for are read.

Letters: N = keys, M = rows of a file, D = width of a key.
"""

from __future__ import annotations

import torch

from balancedit.codebook.growing import Growing


class KeyRows:
    """(N, D) keys on the CPU, appended to. The first of them may lie in a file that is
    memory-mapped: such rows take no memory until they are read."""

    def __init__(self) -> None:
        self._mapped: torch.Tensor | None = None  # (M, D)
        self._places = torch.zeros(0, dtype=torch.long)  # of the first keys, in `_mapped`
        self._own: Growing | None = None

    def __len__(self) -> int:
        return len(self._places) + (len(self._own) if self._own is not None else 0)

    def append(self, keys: torch.Tensor) -> None:
        """Copy (n, D) keys to the end."""
        keys = keys.detach().to("cpu", torch.float32)
        if self._own is None:
            self._own = Growing(torch.zeros(0, keys.shape[1]))
        self._own.append(keys)

    def append_mapped(self, matrix: torch.Tensor, places: torch.Tensor) -> None:
        """Put the rows `places` (n,) of a mapped matrix (M, D) at the end, uncopied where they are
        the first."""
        if len(self):
            self.append(matrix[places])
        else:
            self._mapped, self._places = matrix, places

    def read(self, places: torch.Tensor) -> torch.Tensor:
        """(n,) places, in any order -> (n, D) float32 keys."""
        first = len(self._places)
        if self._mapped is None:
            assert self._own is not None
            return self._own.rows[places]
        if not len(places) or int(places.max()) < first:
            return self._mapped[self._places[places]].float()
        assert self._own is not None
        keys = self._own.rows.new_empty((len(places), self._mapped.shape[1]))
        mapped = places < first
        keys[mapped] = self._mapped[self._places[places[mapped]]].float()
        keys[~mapped] = self._own.rows[places[~mapped] - first]
        return keys

    def keep(self, places: torch.Tensor) -> None:
        """Forget all keys but those at `places` (n,), ascending."""
        first = len(self._places)
        if self._own is not None:
            self._own.keep(places[places >= first] - first)
        self._places = self._places[places[places < first]]
