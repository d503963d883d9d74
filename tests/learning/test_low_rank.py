"""Factors beside a weight: what they span, what they add, and how they build on one another."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from balancedit.layer.edited import FullWeight
from balancedit.learning.low_rank import (
    EitherForm,
    LowRank,
    basis,
    full_weight,
    kept,
    low_rank_start,
    strongest,
)

D, O = 12, 7  # noqa: E741


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(D, O)


def factors(rank: int, seed: int) -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    a, q = torch.randn(O, rank, generator=chance), torch.randn(rank, D, generator=chance)
    return {"a": a, "q": q}


def test_a_basis_spans_the_rows_and_no_more() -> None:
    x = torch.randn(4, D, generator=torch.Generator().manual_seed(1))
    repeated = torch.cat([x, x[:2] * 2])
    q = basis(repeated)
    assert q.shape == (4, D)
    torch.testing.assert_close(q @ q.T, torch.eye(4))
    torch.testing.assert_close(x @ q.T @ q, x)


def test_a_basis_goes_on_from_another() -> None:
    x = torch.randn(3, D, generator=torch.Generator().manual_seed(1))
    first = basis(x[:2])
    q = basis(x, first)
    assert torch.equal(q[:2], first)
    assert q.shape == (3, D)
    torch.testing.assert_close(q @ q.T, torch.eye(3))
    assert len(basis(x[:2], first)) == 2, "what is spanned already adds nothing"


def test_mixed_rows_of_both_forms_are_what_each_edit_alone_gives(layer: nn.Linear) -> None:
    weight = {"weight": torch.randn(O, D, generator=torch.Generator().manual_seed(2))}
    held = [factors(2, 3), weight, factors(4, 5), {"weight": weight["weight"] * 2}]
    owner = torch.tensor([2, 0, 1, 3, 0])
    x = torch.randn(5, 3, D, generator=torch.Generator().manual_seed(4))
    y = layer(x)
    thin = [held[0], held[2]]
    for form, edits, owned in ((EitherForm(), held, owner), (LowRank(), thin, owner % 2)):
        found = form.over(layer, edits, owned, torch.arange(5))(x, y)
        for row, edit in enumerate(owned.tolist()):
            expected = x[row] @ full_weight(layer.weight, edits[edit]).T + layer.bias
            torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


def test_tensors_that_do_not_fit_are_refused(layer: nn.Linear) -> None:
    form = EitherForm()
    form.check(layer, factors(3, 0))
    form.check(layer, {"weight": layer.weight})
    unlike = {"a": torch.zeros(O, 2), "q": torch.zeros(3, D)}
    for bad in (unlike, {"weight": torch.zeros(D, O)}, {}):
        with pytest.raises(ValueError, match="an edit's"):
            form.check(layer, bad)


def test_training_starts_at_the_untouched_layer_with_a_step_in_its_own_units(
    layer: nn.Linear,
) -> None:
    x = torch.randn(3, D, generator=torch.Generator().manual_seed(1))
    start = low_rank_start(x, layer(x), 0.1, None, None, 16)
    assert not start.tensors["a"].any()
    assert start.tensors["a"].shape == (O, 3)
    assert start.fixed["q"].shape == (3, D)
    scaled = low_rank_start(x * 10, layer(x) * 5, 0.1, None, None, 16)
    assert scaled.lr == pytest.approx(start.lr / 2)


@pytest.mark.parametrize("form", ["low_rank", "full"])
def test_an_overlapping_edit_starts_where_the_other_puts_its_tokens(
    layer: nn.Linear, form: str
) -> None:
    held = factors(6, 1)
    if form == "full":
        held = {"weight": full_weight(layer.weight.detach(), held)}
    base = layer.weight.detach() if form == "full" else None
    x = torch.randn(2, D, generator=torch.Generator().manual_seed(9))
    start = low_rank_start(x, layer(x).detach(), 0.1, held, base, 3)
    assert len(start.fixed["q"]) == 5, "three directions of the other, two of its own"
    made = {**start.tensors, **start.fixed}
    everyone = torch.zeros(1, dtype=torch.long)
    moved = LowRank().over(layer, [made], everyone, everyone)(x[None], layer(x)[None])
    either = EitherForm().over(layer, [held], everyone, everyone)(x[None], layer(x)[None])
    torch.testing.assert_close(moved, either, rtol=1e-4, atol=1e-4)


def test_the_strongest_directions_lose_least(layer: nn.Linear) -> None:
    held = factors(6, 1)
    change = held["a"] @ held["q"]
    best = torch.linalg.svd(change).Vh[:2]
    for tensors, base in (
        (held, None),
        ({"weight": layer.weight.detach() + change}, layer.weight.detach()),
    ):
        found = strongest(base, tensors, 2)
        torch.testing.assert_close(found.T @ found, best.T @ best, rtol=1e-3, atol=1e-3)


def test_factors_are_kept_in_half_precision_and_full_weights_as_they_are(layer: nn.Linear) -> None:
    thin, full = kept(factors(2, 1)), kept({"weight": layer.weight.detach()})
    assert {t.dtype for t in thin.values()} == {torch.float16}
    assert full["weight"].dtype == torch.float32
    x = torch.randn(1, 3, D)
    at = torch.zeros(1, dtype=torch.long)
    exact = LowRank().over(layer, [factors(2, 1)], at, at)(x, layer(x))
    torch.testing.assert_close(
        LowRank().over(layer, [thin], at, at)(x, layer(x)), exact, rtol=1e-2, atol=1e-2
    )
    assert torch.equal(FullWeight().over(layer, [full], at, at)(x, layer(x)), layer(x)), (
        "one row, one weight: the layer's own arithmetic"
    )
