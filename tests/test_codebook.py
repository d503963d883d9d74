from __future__ import annotations

import pytest
import torch

from balancedit.codebook import Codebook, cosine, euclidean


def filled(distance=euclidean) -> Codebook:
    book = Codebook(distance)
    book.add("east", torch.tensor([1.0, 0.0]), 0.5)
    book.add("north", torch.tensor([0.0, 1.0]), 0.2)
    return book


def test_distances_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    keys = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    torch.testing.assert_close(euclidean(queries, keys), torch.tensor([[1, 5**0.5], [5, 13**0.5]]))
    torch.testing.assert_close(
        cosine(queries, torch.tensor([[2.0, 0.0], [0.0, 1.0]])), torch.tensor([[0, 1], [0.4, 0.2]])
    )


def test_euclidean_keeps_small_distances_between_large_keys() -> None:
    keys = torch.full((1, 64), 1000.0)
    query = keys.clone()
    query[0, 0] += 0.5
    assert euclidean(query, keys).item() == pytest.approx(0.5)
    assert euclidean(keys.repeat(40, 1), keys.repeat(40, 1)).max().item() == 0.0


def test_the_nearest_entry_fires_only_inside_its_own_radius() -> None:
    book = filled()
    near_east, near_north, between = book.nearest(
        torch.tensor([[1.0, 0.4], [0.3, 1.0], [1.0, 0.5]])
    )
    assert (near_east.id, near_east.inside) == ("east", True)
    assert (near_north.id, near_north.inside) == ("north", False), "its own radius counts"
    assert (between.id, between.distance, between.inside) == ("east", 0.5, True), "≤, not <"


def test_batch_look_up_equals_single_look_ups() -> None:
    book = filled(cosine)
    queries = torch.randn(20, 2)
    singles = [book.nearest(q[None])[0] for q in queries]
    for a, b in zip(book.nearest(queries), singles, strict=True):
        assert a.id == b.id
        assert a.distance == pytest.approx(b.distance, abs=1e-6)


def test_of_two_equal_keys_the_newer_is_taken() -> None:
    book = filled()
    book.add("again", torch.tensor([1.0, 0.0]), 0.1)
    assert book.nearest(torch.tensor([[1.0, 0.1]]))[0].id == "again"


def test_removing_leaves_the_others_as_they_were() -> None:
    book = filled()
    book.add("west", torch.tensor([-1.0, 0.0]), 0.3)
    book.remove("north")
    assert book.ids == ("east", "west")
    match = book.nearest(torch.tensor([[-1.0, 0.2]]))[0]
    assert (match.id, match.radius) == ("west", 0.3)
    assert [m.id for m in book.ranked(torch.tensor([-2.0, 0.0]))] == ["west", "east"]


def test_an_empty_codebook_matches_nothing() -> None:
    book = filled()
    book.remove("east")
    book.remove("north")
    assert len(book) == 0
    assert book.nearest(torch.zeros(3, 2)) == [None] * 3
    assert book.ranked(torch.zeros(2)) == []


def test_an_id_is_held_once() -> None:
    with pytest.raises(ValueError, match="already held"):
        filled().add("east", torch.zeros(2), 1.0)
