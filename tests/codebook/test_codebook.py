from __future__ import annotations

import pytest
import torch

from balancedit.codebook.codebook import Codebook, cosine, euclidean
from balancedit.codebook.rows import KeyRows


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
        assert a.distance == pytest.approx(b.distance, abs=1e-5)


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


# -- the index ------------------------------------------------------------------------------------


def crowd(kind: str, n: int, width: int, seed: int) -> torch.Tensor:
    """(n, width) keys of a kind that a bound may stumble over."""
    g = torch.Generator().manual_seed(seed)
    keys = torch.randn(n, width, generator=g)
    if kind == "clustered":
        keys = keys[torch.randint(max(1, n // 8), (n,), generator=g)] + 0.01 * keys
    elif kind == "duplicates":
        keys = keys[torch.randint(min(5, n), (n,), generator=g)]
    elif kind == "a grid":  # many distances are equal
        keys = torch.randint(-1, 2, (n, width), generator=g).float()
    elif kind == "zeros among others":
        keys[::3] = 0
    elif kind == "far from the origin":
        keys = 3000 + keys
    elif kind == "huge norms":
        keys = keys * torch.logspace(-20, 30, n)[torch.randperm(n, generator=g)][:, None]
    elif kind == "too small to square":
        keys = keys * 1e-23
    elif kind == "a line":
        keys = torch.linspace(-1, 1, n)[:, None] * keys[:1]
    return keys


CROWDS = [
    "spread evenly",
    "clustered",
    "duplicates",
    "a grid",
    "zeros among others",
    "far from the origin",
    "huge norms",
    "too small to square",
    "a line",
]
N, WIDTH = 300, 160


def books(distance, keys: torch.Tensor) -> tuple[Codebook, Codebook]:
    """The same entries, compared with one by one and through the index."""
    full, indexed = Codebook(distance, exact_up_to=10**9), Codebook(distance, exact_up_to=8)
    radii = distance(keys[:1], keys)[0].tolist()
    for book in (full, indexed):
        for number, key in enumerate(keys):
            book.add(str(number), key, radii[(7 * number) % len(radii)])
    return full, indexed


def assert_same_answers(full: Codebook, indexed: Codebook, queries: torch.Tensor) -> None:
    assert indexed._indexed()
    assert not full._indexed()
    together = indexed.nearest(queries)
    assert together == full.nearest(queries)
    assert together == [indexed.nearest(q[None])[0] for q in queries]
    for query in queries:
        ranked = full.ranked(query)
        assert indexed.ranked(query) == ranked
        for most in (1, 5):
            assert indexed.ranked(query, most) == full.ranked(query, most) == ranked[:most]
        assert indexed.containing(query) == full.containing(query)
        assert full.containing(query) == next((m for m in ranked if m.inside), None)
        for limit in (0.0, ranked[3].distance, float("inf")):
            expected = [m for m in ranked if m.distance <= limit]
            assert indexed.within(query, limit) == full.within(query, limit) == expected


@pytest.mark.parametrize("distance", [euclidean, cosine], ids=["euclidean", "cosine"])
@pytest.mark.parametrize("kind", CROWDS)
def test_the_index_answers_as_the_full_search_does(kind: str, distance) -> None:
    keys = crowd(kind, N, WIDTH, seed=1)
    new = crowd(kind, 4, WIDTH, seed=2)
    near = keys[::60] * (1 + 1e-3 * torch.randn(5, WIDTH))
    edge = [torch.zeros(WIDTH), keys.mean(0), keys[3] * 1e8, (keys[0] + keys[1]) / 2]
    queries = torch.cat([new, near, keys[::75], torch.stack(edge)])
    assert_same_answers(*books(distance, keys), queries)


@pytest.mark.parametrize("distance", [euclidean, cosine], ids=["euclidean", "cosine"])
@pytest.mark.parametrize("seed", range(3))
def test_the_index_follows_what_is_added_and_removed(distance, seed: int) -> None:
    full, indexed = books(distance, crowd("clustered", 40, 24, seed))
    g = torch.Generator().manual_seed(seed)
    for step in range(400):
        held = full.ids
        grow = step < 150 or (step > 300 and len(held) < 60)
        drop = held[int(torch.randint(len(held), (1,), generator=g))]
        if (grow and torch.rand(1, generator=g) < 0.8) or len(held) < 12:
            key = torch.randn(24, generator=g)
            for book in (full, indexed):
                book.add(f"new {step}", key, 0.5 + step % 5)
        else:
            for book in (full, indexed):
                book.remove(drop)
        if step % 20 == 0:
            assert indexed.ids == full.ids
            queries = torch.randn(3, 24, generator=g)
            assert indexed.nearest(queries) == full.nearest(queries)
            assert indexed.ranked(queries[0], 4) == full.ranked(queries[0], 4)
            assert indexed.containing(queries[1]) == full.containing(queries[1])


def test_a_query_that_is_no_number_is_inside_nothing() -> None:
    keys = crowd("spread evenly", 40, 16, seed=1)
    for book in books(euclidean, keys):
        (match,) = book.nearest(torch.full((1, 16), float("nan")))
        assert not match.inside
        assert book.containing(torch.full((16,), float("nan"))) is None


def test_the_index_compares_with_few(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = crowd("clustered", 4000, 256, seed=3)
    book = Codebook(euclidean)
    book.add_mapped([str(i) for i in range(4000)], keys, torch.arange(4000), [1.0] * 4000)
    book.prepare()
    read = []
    real = KeyRows.read
    monkeypatch.setattr(KeyRows, "read", lambda rows, at: (read.append(len(at)), real(rows, at))[1])
    book.nearest(keys[:1] + 0.01)
    assert 0 < sum(read) < 400


def test_lower_precision_of_matrix_products_changes_nothing() -> None:
    full, indexed = books(euclidean, crowd("far from the origin", N, WIDTH, seed=1))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        queries = crowd("far from the origin", 6, WIDTH, seed=2)
        assert indexed.nearest(queries) == full.nearest(queries)
    finally:
        torch.set_float32_matmul_precision(before)


def test_mapped_keys_are_not_copied_and_those_after_them_are() -> None:
    matrix = crowd("spread evenly", 50, 12, seed=1)
    rows = torch.tensor([4, 2, 40])
    book = Codebook(euclidean)
    book.add_mapped(["a", "b", "c"], matrix, rows, [1.0, 1.0, 1.0])
    book.add("d", matrix[7], 1.0)
    book.add_mapped(["e"], matrix, torch.tensor([9]), [1.0])
    for name, row in zip("abcde", (4, 2, 40, 7, 9), strict=True):
        match = book.nearest(matrix[row][None])[0]
        assert (match.id, match.distance) == (name, 0.0)
    book.remove("b")
    assert book.ids == ("a", "c", "d", "e")
    assert book.nearest(matrix[40][None])[0].id == "c"
    with pytest.raises(ValueError, match="already held"):
        book.add_mapped(["x", "a"], matrix, torch.tensor([0, 1]), [1.0, 1.0])
    assert book.ids == ("a", "c", "d", "e")


def test_adding_does_not_copy_what_is_there() -> None:
    book = Codebook(euclidean)
    keys = torch.randn(6000, 64)
    pointers = set()
    for number, key in enumerate(keys):
        book.add(str(number), key, 1.0)
        pointers.add(book._keys._own.rows.data_ptr())
    assert len(pointers) < 16, "room doubles; rows are not copied at every step"
