"""Reading what a model's call was given: its arguments by name, its batch, its cache.

This module knows nothing about edits. Letters: B = rows, T = tokens in the call.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from balancedit.errors import RoutingError


def takes_mask(module: nn.Module) -> bool:
    """Whether a module's forward takes tokens with an attention mask."""
    try:
        parameters = inspect.signature(module.forward).parameters
    except (TypeError, ValueError):
        return False
    tokens = {"input_ids", "inputs_embeds"} & parameters.keys()
    return "attention_mask" in parameters and bool(tokens)


def takes_pictures(module: nn.Module) -> bool:
    """Whether a module's forward takes pixel values."""
    return "pixel_values" in _parameter_names(type(module).forward)


@functools.cache
def _parameter_names(forward: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(forward).parameters)


def named_arguments(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """What a forward call was given, by parameter name, without the Nones."""
    names = _parameter_names(type(module).forward)[1:]  # without self
    given = dict(zip(names, args, strict=False)) | kwargs
    return {name: value for name, value in given.items() if value is not None}


def batch_shape(given: dict[str, Any]) -> tuple[int, int] | None:
    """(B, T) of a call, from its embeddings or token ids; None where it has neither."""
    for name in ("inputs_embeds", "input_ids"):
        value = given.get(name)
        if isinstance(value, torch.Tensor) and value.dim() >= 2:
            return value.shape[0], value.shape[1]
    return None


def device_of(given: dict[str, Any]) -> torch.device | None:
    """Where a call's tokens are; None where it has none."""
    ids = given.get("inputs_embeds", given.get("input_ids"))
    return ids.device if isinstance(ids, torch.Tensor) else None


def cached_length(cache: Any) -> int:
    """Tokens a cache holds already; 0 without one."""
    length = getattr(cache, "get_seq_length", None)
    return int(length()) if callable(length) else 0


def chunked_prefill(module: nn.Module, kwargs: dict[str, Any]) -> bool:
    """Whether a `generate` call will feed its prompt in several pieces."""
    own = getattr(module, "generation_config", None)
    configs = (kwargs.get("generation_config"), own)
    sizes = [kwargs.get("prefill_chunk_size")]
    sizes += [getattr(c, "prefill_chunk_size", None) for c in configs]
    return any(size is not None for size in sizes)


def refuse_packed(given: dict[str, Any], prompt: torch.Tensor) -> None:
    """Raise `RoutingError` where a call's rows hold several prompts, which share one decision:
    sequences described by their lengths, or positions that start again. given: the call's arguments
    by name; prompt: (B, T) bool, its tokens that are no padding."""
    packed = next((name for name in given if name.startswith(_PACKED)), None)
    if packed is None and not _one_after_another(given.get("position_ids"), prompt):
        packed = "position_ids"
    if packed is not None:
        raise RoutingError(
            f"'{packed}' packs several prompts into one row, where edits cannot be told apart; "
            "give each prompt a row of its own"
        )


_PACKED = ("cu_seq", "block_table")  # of packed rows, and of paged attention


def _one_after_another(positions: Any, prompt: torch.Tensor) -> bool:
    """Whether (B, T) positions, or the first of (N, B, T), never step back in a row's prompt."""
    if not isinstance(positions, torch.Tensor) or positions.shape[-2:] != prompt.shape:
        return True
    first = positions if positions.dim() == 2 else positions[0]
    lowest = torch.iinfo(torch.long).min
    seen = first.long().masked_fill(~prompt.to(first.device), lowest).cummax(1).values
    return not bool((prompt.to(first.device) & (first < seen)).any())


def weakly_known(cache: Any) -> bool:
    """Whether a cache is an object that a weak mapping can hold (old tuples are not)."""
    return cache is not None and not isinstance(cache, (tuple, list, dict))


def override(module: nn.Module, name: str, value: Any) -> Callable[[], None]:
    """Shadow a method or setting on one instance; the returned call restores what was there."""
    own = vars(module).get(name)
    object.__setattr__(module, name, value)
    if own is None:
        return lambda: object.__delattr__(module, name)
    return lambda: object.__setattr__(module, name, own)
