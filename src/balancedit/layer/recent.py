"""What was wanted last, up to a number of bytes. This module knows nothing else."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import torch

Tensors = Mapping[str, torch.Tensor]


class RecentTensors:
    """Named tensors by id; those wanted longest ago are forgotten beyond the limit. The one wanted
    last is always kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Tensors] = OrderedDict()
        self.nbytes = 0

    def get(self, name: str, make: Callable[[], Tensors]) -> Tensors:
        """What is kept under a name, or what `make` gives, kept from now on."""
        found = self._kept.get(name)
        if found is None:
            found = self._kept[name] = make()
            self.nbytes += _size(found)
        self._kept.move_to_end(name)
        while self.nbytes > self._limit and len(self._kept) > 1:
            self.nbytes -= _size(self._kept.popitem(last=False)[1])
        return found

    def forget(self, name: str) -> None:
        """Drop what is kept under a name, if anything is."""
        self.nbytes -= _size(self._kept.pop(name, {}))


def _size(tensors: Tensors) -> int:
    return sum(t.nbytes for t in tensors.values())
