"""What one pass brought to the edited layer's block: the values that later passes start from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map
from transformers.cache_utils import Cache, DynamicLayer

from balancedit.layer.decisions import Said


class Noted(NamedTuple):
    """What one way of making keys knows of a batch of prompts. said: what the untouched model
    answers greedily; keys: (B, D) the prompts', as that way makes them."""

    said: list[Said]
    keys: torch.Tensor


@dataclass
class RecordedPass:
    """What one pass brought to the edited layer's block.

    outputs: of the modules watched, in the order of their calls. cached: keys and values (rows,
    heads, tokens, width) of every block below; empty for a pass without a cache. inputs: what the
    model was called with.
    """

    outputs: dict[nn.Module, list[Any]] = field(default_factory=dict)
    inputs: Mapping[str, torch.Tensor] = field(default_factory=dict)
    cached: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    noted: dict[Hashable, Noted] = field(default_factory=dict)
    complete: bool = False
    unfit: bool = False  # its cache is not one that simply grows

    @property
    def size(self) -> int:
        """Bytes held."""
        tensors = [
            *tree_leaves(list(self.outputs.values())),
            *tree_leaves(self.cached),
            *self.inputs.values(),
        ]
        return sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor))


def copied(output: Any) -> Any:
    """The same structure with tensors of their own: some models write into a module's output."""
    return tree_map(
        lambda leaf: leaf.detach().clone() if isinstance(leaf, torch.Tensor) else leaf, output
    )


def blank(output: Any) -> Any:
    """The same structure with tensors of the same shapes and no content."""
    return tree_map(
        lambda leaf: torch.empty_like(leaf) if isinstance(leaf, torch.Tensor) else leaf, output
    )


def cache_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cache | None:
    return next((x for x in (*args, *kwargs.values()) if isinstance(x, Cache)), None)


def cached_below(
    args: tuple[Any, ...], kwargs: dict[str, Any], blocks: int
) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """Keys and values that the first blocks put into the cache a block is called with; None where
    that is not one that simply grows."""
    cache = cache_of(args, kwargs)
    if cache is None:
        return []
    layers: list[tuple[torch.Tensor, torch.Tensor]] = []
    for layer in cache.layers[:blocks]:
        if type(layer) is not DynamicLayer or layer.keys is None or layer.values is None:
            return None
        layers.append((layer.keys, layer.values))
    return layers
