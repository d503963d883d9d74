"""A name that no file can have is the name of no file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from balancedit.data.catalogue import find
from balancedit.data.check import check
from balancedit.errors import BalanceditError, DataError, ImageError, InputError, ModelLoadError
from balancedit.files.names import exists, expanded, is_directory, is_file
from balancedit.inputs.images import open_image
from balancedit.methods.mend import MendConfig
from balancedit.models.loading import load_model
from balancedit.store import DiskStore, MemoryStore
from balancedit.store.copying import copy_store
from store_cases import BINDING

NAMES = ["x" * 5000, "é" * 300, "a/" * 3000, "a\0b"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_there(tmp_path: Path, name: str) -> None:
    for look in (exists, is_directory, is_file):
        assert not look(tmp_path / name)


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert [look(tmp_path) for look in (exists, is_directory, is_file)] == [True, True, False]
    for name in ("file", "link"):
        found = [look(tmp_path / name) for look in (exists, is_directory, is_file)]
        assert found == [True, False, True]


def test_a_user_who_does_not_exist_has_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/a") == Path("/home/me/a")
    assert expanded("~nobody-here/a") == Path("~nobody-here/a")
    with pytest.raises(ImageError, match="there is no file '~nobody-here/a"):
        open_image("~nobody-here/a.png")


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_data_set_s_pictures_with_such_names_are_missing(tmp_path: Path, name: str) -> None:
    fact = {"image": f"{name}.png", "question": "Who?", "target": "hp"}
    (tmp_path / "edit-eval.jsonl").write_text(json.dumps(fact) + "\n")
    _, parts = check(None, tmp_path)
    assert [p.kind for p in parts["edit-eval"].problems] == ["missing-image"]
    (sample,) = find(str(tmp_path)).read("edit-eval")
    with pytest.raises(ImageError):
        sample.image.open()


@pytest.mark.parametrize("name", NAMES[:3])
def test_what_a_caller_names_so_is_not_there(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    with pytest.raises((InputError, DataError)):
        find(str(place))
    with pytest.raises(ModelLoadError):
        load_model(str(place))
    with pytest.raises(ModelLoadError, match="no MEND network"):
        MendConfig(network=place)
    for use in (
        lambda: DiskStore.open(place, BINDING, create=True),
        lambda: copy_store(MemoryStore(BINDING), place),
    ):
        with pytest.raises(BalanceditError):
            use()
    assert os.listdir(tmp_path) == []
