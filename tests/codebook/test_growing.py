from __future__ import annotations

import torch

from balancedit.codebook.growing import Growing


def test_rows_stay_as_room_grows_and_others_are_dropped() -> None:
    rows = torch.arange(60.0).reshape(20, 3)
    grown = Growing(torch.zeros(0, 3))
    for start in (0, 1, 2, 9, 18):
        end = {0: 1, 1: 2, 2: 9, 9: 18, 18: 20}[start]
        grown.append(rows[start:end])
    assert len(grown) == 20
    assert torch.equal(grown.rows, rows)
    grown.keep(torch.tensor([3, 4, 19]))
    grown.append(rows[:1].double())
    assert torch.equal(grown.rows, rows[[3, 4, 19, 0]])
    assert grown.rows.dtype == torch.float32


def test_columns_of_single_values() -> None:
    grown = Growing(torch.zeros(0, dtype=torch.bool))
    grown.append(torch.ones(3, dtype=torch.bool))
    grown.rows[1] = False
    assert grown.rows.tolist() == [True, False, True]
