"""A processor of our own making, whose kernels round otherwise for every number of rows.

Real kernels cut a product into tiles, and where they cut depends on its shape, the instructions and
the threads: the same row gives other last digits in a batch of two than alone. On many machines
that never shows with models as small as the tests'. Here it always does: a linear layer adds up in
two parts, and where the first one ends depends on the number of rows. The same shape always gives
the same bits, as on a real machine.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

_PLACES = 7  # where the sum may be cut, after how many eighths; the rows' number says which

_linear = F.linear


def by_rows(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """`torch.nn.functional.linear`, (…, D) -> (…, O), added up in two parts; in float32, as kernels
    for half precision do."""
    if weight.dim() != 2 or not weight.is_floating_point() or type(input) is not torch.Tensor:
        return _linear(input, weight, bias)
    width = input.shape[-1]
    rows = input.numel() // max(width, 1)
    cut = width * (1 + rows % _PLACES) // (_PLACES + 1)
    x, w = input.float(), weight.float()
    rest = _linear(x[..., cut:], w[:, cut:], None if bias is None else bias.float())
    return (_linear(x[..., :cut], w[:, :cut]) + rest).to(input.dtype)


def install() -> None:
    """Put `by_rows` in the place of PyTorch's own, for the rest of the process."""
    F.linear = by_rows
