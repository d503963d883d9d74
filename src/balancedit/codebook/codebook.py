"""The codebook: keys, influence radii, and which entry lies nearest (paper, Section 3.2).

Up to a few hundred entries every key is compared with. Beyond, an index (`codebook/index.py`) names
for each query the few that can matter, and only those are read and compared: what is found is the
same, bit for bit on the CPU, and only the time differs.

This module knows nothing about models, images or transformations. Letters: B = queries,
N = entries held, C = entries that may matter, D = width of a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from balancedit.codebook.distances import DISTANCES, Distance, cosine, euclidean
from balancedit.codebook.growing import Growing
from balancedit.codebook.index import KeyIndex
from balancedit.codebook.rows import KeyRows

__all__ = ["DISTANCES", "Codebook", "Match", "cosine", "euclidean"]

EXACT_UP_TO = 512  # entries that are all compared with; more go through the index
_FIRST = 16  # entries compared first, to learn how near the nearest is
_REFIT = 4  # the index finds its directions anew when there are this many times as many entries
_CHUNK = 4096  # keys compared with at once
_SHOWN = 256  # keys shown to the index at once; float64 copies of so few stay in a core's cache


@dataclass(frozen=True)
class Match:
    """An entry seen from one query, and whether the query lies inside its radius (Eq. 1)."""

    id: str
    distance: float
    radius: float

    @property
    def inside(self) -> bool:
        """True when the entry's transformation answers the query."""
        return self.distance <= self.radius


class Codebook:
    """Entries in the order they were added. Growth is explicit; a look-up changes nothing.

    Entries have places, which removing leaves as they are until half of them are empty.
    """

    def __init__(self, distance: Distance, exact_up_to: int = EXACT_UP_TO) -> None:
        self._distance = distance
        self._exact_up_to = exact_up_to
        self._forget()

    def _forget(self) -> None:
        self._places: dict[str, int] = {}  # oldest first
        self._ids: list[str] = []  # by place
        self._radii = Growing(torch.zeros(0, dtype=torch.float64))
        self._held = Growing(torch.zeros(0, dtype=torch.bool))
        self._keys = KeyRows()
        self._index: KeyIndex | None = None
        self._fitted = 0  # entries there were when the index found its directions
        self._moved: torch.Tensor | None = None  # (N, D) few keys, where they are compared

    def __len__(self) -> int:
        return len(self._places)

    @property
    def index_bytes(self) -> int:
        """Memory that the index takes; 0 while there is none."""
        return self._index.nbytes if self._index is not None else 0

    @property
    def ids(self) -> tuple[str, ...]:
        """Entry ids, oldest first."""
        return tuple(self._places)

    def add(self, entry_id: str, key: torch.Tensor, radius: float) -> None:
        """Add one entry; key: (D,). Radii of the others stay as they are."""
        self._check_new([entry_id])
        self._keys.append(key[None])
        self._name([entry_id], [radius])

    def add_mapped(
        self,
        entry_ids: Sequence[str],
        matrix: torch.Tensor,
        rows: torch.Tensor,
        radii: Sequence[float],
    ) -> None:
        """Add many entries at once, whose keys are the rows `rows` (n,) of `matrix` (M, D). Where
        they are the first entries the matrix, which may be memory-mapped, is not copied and must
        not change."""
        self._check_new(entry_ids)
        self._keys.append_mapped(matrix, rows)
        self._name(entry_ids, radii)

    def _check_new(self, entry_ids: Sequence[str]) -> None:
        for entry_id in entry_ids:
            if entry_id in self._places:
                raise ValueError(f"entry '{entry_id}' is already held")

    def _name(self, entry_ids: Sequence[str], radii: Sequence[float]) -> None:
        for entry_id in entry_ids:
            self._places[entry_id] = len(self._ids)
            self._ids.append(entry_id)
        self._radii.append(torch.tensor([float(r) for r in radii], dtype=torch.float64))
        self._held.append(torch.ones(len(entry_ids), dtype=torch.bool))
        self._moved = None

    def remove(self, entry_id: str) -> None:
        """Drop one entry; the others keep their order, keys and radii."""
        place = self._places.pop(entry_id)
        self._held.rows[place] = False
        self._moved = None
        if self._index is not None and place < len(self._index):
            self._index.drop(place)
        if not self._places:
            self._forget()
        elif len(self._ids) > 2 * len(self._places) + 16:
            self._compact()

    def _compact(self) -> None:
        held = self._held.rows.nonzero()[:, 0]
        if self._index is not None:
            self._index.keep(held[held < len(self._index)])
        for column in (self._radii, self._held, self._keys):
            column.keep(held)
        self._ids = list(self._places)
        self._places = {entry_id: place for place, entry_id in enumerate(self._ids)}

    # -- looking up --------------------------------------------------------------------------

    def prepare(self) -> None:
        """Bring the index up to date now rather than at the next look-up."""
        self._indexed()

    def nearest(self, queries: torch.Tensor) -> list[Match | None]:
        """(B, D) -> the nearest entry of each query, or None where none is held.

        Of entries equally near, the newest is taken: it is the later word on the same fact.
        """
        if not self._places:
            return [None] * len(queries)
        if not self._indexed():
            places, distances = self._all(queries)
            return [self._newest(places, row) for row in distances]
        queries = queries.to("cpu", torch.float32)
        matches: list[Match | None] = []
        for query, bounds in zip(queries, self._bounds(queries), strict=True):
            limit = self._limit(query, bounds, 1)
            matches.append(self._newest(*self._within_reach(query, bounds, limit)))
        return matches

    def ranked(self, query: torch.Tensor, most: int | None = None) -> list[Match]:
        """(D,) -> entries as seen from the query, nearest first (of equals the oldest); all of
        them, or the `most` nearest."""
        if most is None or most >= len(self._places) or not self._indexed():
            places, distances = self._all(query[None])
            return self._matches(places, distances[0], most)
        query = query.to("cpu", torch.float32)
        bounds = self._bounds(query[None])[0]
        limit = self._limit(query, bounds, most)
        return self._matches(*self._within_reach(query, bounds, limit), most)

    def within(self, query: torch.Tensor, distance: float) -> list[Match]:
        """(D,) -> the entries at most `distance` away, nearest first (of equals the oldest)."""
        places, distances = self._near(query, torch.tensor(distance, dtype=torch.float64))
        inside = distances <= distance
        return self._matches(places[inside], distances[inside])

    def containing(self, query: torch.Tensor) -> Match | None:
        """(D,) -> the nearest entry that has the query inside its radius (of equals the oldest),
        if there is one; a nearer entry with a small radius does not hide it."""
        places, distances = self._near(query, self._radii.rows)
        inside = distances <= self._radii.rows[places]
        return next(iter(self._matches(places[inside], distances[inside], 1)), None)

    def covering(self, queries: torch.Tensor) -> list[list[Match]]:
        """(B, D) -> for each query the entries that have it inside their radius, nearest first (of
        equals the newest)."""
        if not self._places:
            return [[] for _ in queries]
        if self._indexed():
            near = [self._near(query, self._radii.rows) for query in queries]
        else:
            places, all_distances = self._all(queries)
            near = [(places, row) for row in all_distances.cpu().double()]
        matches = []
        for places, distances in near:
            inside = (distances <= self._radii.rows[places]).nonzero()[:, 0].flip(0)
            matches.append(self._matches(places[inside], distances[inside]) if len(inside) else [])
        return matches

    def entry(self, entry_id: str) -> tuple[torch.Tensor, float]:
        """An entry's key (D,) and radius."""
        place = self._places[entry_id]
        return self._keys.read(torch.tensor([place]))[0], float(self._radii.rows[place])

    @property
    def widest(self) -> float:
        """The largest radius held; 0 where nothing is."""
        return max(self._radii.rows[self._held.rows].tolist(), default=0.0)

    # -- inside ------------------------------------------------------------------------------

    def _near(self, query: torch.Tensor, limits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(D,) -> places and float64 distances (C,) of all entries that may be as near as their
        limit; limits: float64, (N,) by place, or one for all."""
        if not self._indexed():
            places, distances = self._all(query[None])
            return places, distances[0].cpu().double()
        query = query.to("cpu", torch.float32)
        places, distances = self._within_reach(query, self._bounds(query[None])[0], limits)
        return places, distances.double()

    def _indexed(self) -> bool:
        """Whether there are so many entries that the index is asked; it is brought up to date."""
        if len(self._ids) <= self._exact_up_to:
            self._index = None
            return False
        if self._index is None or len(self._ids) > _REFIT * self._fitted:
            step = -(-len(self._ids) // _CHUNK)
            sample = self._keys.read(torch.arange(0, len(self._ids), step))
            self._index = KeyIndex(self._distance.embedded(sample))
            self._fitted = len(self._ids)
        for start in range(len(self._index), len(self._ids), _SHOWN):
            new = torch.arange(start, min(start + _SHOWN, len(self._ids)))
            self._index.add(self._distance.embedded(self._keys.read(new)))
            for place in new[~self._held.rows[new]].tolist():
                self._index.drop(place)
        return True

    def _bounds(self, queries: torch.Tensor) -> torch.Tensor:
        """(B, D) -> (B, N) what the index says of every place."""
        assert self._index is not None
        return self._index.bounds(self._distance.embedded(queries))

    def _limit(self, query: torch.Tensor, bounds: torch.Tensor, most: int) -> torch.Tensor:
        """A distance within which at least `most` entries lie, found from (N,) the bounds."""
        first = bounds.topk(min(most + _FIRST, len(bounds)), largest=False).indices
        _, distances = self._compared(query, first)
        if len(distances) < most:
            return torch.tensor(torch.inf)
        return distances.kthvalue(most).values

    def _within_reach(
        self, query: torch.Tensor, bounds: torch.Tensor, limits: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Places, ascending, and distances (C,) of the entries that (N,) the bounds do not put
        beyond the limits."""
        beyond = bounds > self._distance.reach(limits.double(), len(query))
        return self._compared(query, (~beyond).nonzero()[:, 0])

    def _compared(
        self, query: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(D,) and (C,) -> those of the places that are held, and the distances of their keys."""
        places = places[self._held.rows[places]]
        chunks = places.split(_CHUNK)
        distances = [self._distance(query[None], self._keys.read(some))[0] for some in chunks]
        return places, torch.cat(distances)

    def _all(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, D) -> the N places held, oldest first, and (B, N) distances."""
        queries = queries.to(torch.float32)
        places = self._held.rows.nonzero()[:, 0]
        if not len(places):
            return places, queries.new_zeros((len(queries), 0))
        if len(places) > self._exact_up_to:
            chunks = (self._keys.read(some).to(queries.device) for some in places.split(_CHUNK))
            return places, torch.cat([self._distance(queries, keys) for keys in chunks], 1)
        if self._moved is None or self._moved.device != queries.device:
            self._moved = self._keys.read(places).to(queries.device)
        return places, self._distance(queries, self._moved)

    def _newest(self, places: torch.Tensor, distances: torch.Tensor) -> Match:
        """The newest of the nearest; places and distances (C,), oldest first."""
        nearest = (distances == distances.amin()).nonzero()[:, 0]
        at = int(nearest[-1]) if len(nearest) else -1  # none: the query is not a number
        return self._match(int(places[at]), float(distances[at]))

    def _matches(
        self, places: torch.Tensor, distances: torch.Tensor, most: int | None = None
    ) -> list[Match]:
        order = torch.sort(distances, stable=True).indices[:most].cpu()
        pairs = zip(places[order].tolist(), distances.cpu()[order].tolist(), strict=True)
        return [self._match(place, distance) for place, distance in pairs]

    def _match(self, place: int, distance: float) -> Match:
        return Match(self._ids[place], distance, float(self._radii.rows[place]))
