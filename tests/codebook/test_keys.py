from __future__ import annotations

import pytest
import torch

from balancedit.codebook.codebook import Codebook, cosine, euclidean
from balancedit.codebook.pooling import kept_as
from balancedit.errors import EditFailedError


def keys(n: int, width: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(n)
    return torch.randn(n, width, generator=g) * torch.logspace(-6, 3, n)[:, None]


def test_half_precision_moves_distances_no_more_than_documented() -> None:
    exact = keys(400, 96)
    kept = torch.stack([kept_as(key, "float16") for key in exact])
    bound = 2.0**-11 * exact.norm(dim=1) + 2.0**-25 * 96**0.5
    assert bool(((kept - exact).norm(dim=1) <= bound).all())
    assert not torch.equal(kept, exact)
    assert torch.equal(kept.half().float(), kept), "what is kept is kept exactly"
    queries = torch.cat([keys(20, 96), exact[::40] * 1.01])
    moved = (euclidean(queries, kept) - euclidean(queries, exact)).abs()
    assert bool((moved <= bound * 1.001 + 1e-6 * euclidean(queries, exact)).all())
    large = exact.norm(dim=1) > 1e-2
    turned = (cosine(queries, kept[large]) - cosine(queries, exact[large])).abs()
    assert turned.max().item() <= 2.0**-11 + 1e-6


def test_single_precision_changes_nothing() -> None:
    key = keys(1, 8)[0] / 3
    assert torch.equal(kept_as(key, "float32"), key)


def test_what_half_precision_cannot_hold_is_refused() -> None:
    with pytest.raises(EditFailedError, match=r"7e\+04.*65504.*float32"):
        kept_as(torch.tensor([1.0, -70000.0]), "float16")


def test_a_mapped_half_matrix_is_looked_up_as_its_float32_copy() -> None:
    half = keys(700, 40).clamp(-6e4, 6e4).half()
    names, radii = [str(i) for i in range(700)], [1.0] * 700
    books = Codebook(euclidean), Codebook(euclidean)
    books[0].add_mapped(names, half, torch.arange(700), radii)
    for name, key in zip(names, half.float(), strict=True):
        books[1].add(name, key, 1.0)
    queries = keys(9, 40)
    assert books[0].nearest(queries) == books[1].nearest(queries)
