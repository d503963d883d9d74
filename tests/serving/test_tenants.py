"""Who the tenants are, and where their edits lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from balancedit.errors import InputError, StoreError
from balancedit.serving.tenants import Tenants, UnknownTenantError, check_tenant


@pytest.mark.parametrize("name", ["default", "a", "acme-2_x", "0", "x" * 63])
def test_a_name(name: str) -> None:
    assert check_tenant(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "a/b",
        "a\\b",
        "Acme",
        "x" * 64,
        "base",
        "con",
        "lpt1",
        "-a",
        "_",
        "a.b",
        "é",
        "a\n",
    ],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InputError, match="cannot be a tenant's name"):
        check_tenant(name)
    with pytest.raises(InputError):
        Tenants(("default", name))


def test_each_has_a_place_of_its_own(tmp_path: Path) -> None:
    for edits in (tmp_path, str(tmp_path), f"directory://{tmp_path}"):
        tenants = Tenants(("default", "acme", "b"), edits)
        assert tenants.place("default") == edits
        assert tenants.place("acme") == tmp_path / "tenants" / "acme"
        assert tenants.place("b") == tmp_path / "tenants" / "b"
    assert not list(tmp_path.iterdir()), "nothing is made by looking"


def test_edits_in_memory_have_none() -> None:
    for edits in (None, "memory://"):
        tenants = Tenants(("default", "acme"), edits)
        assert tenants.place("default") == tenants.place("acme") == edits


def test_others_are_not_known(tmp_path: Path) -> None:
    for name in ("other", "..", "", "Default"):
        with pytest.raises(UnknownTenantError, match="no such tenant"):
            Tenants(("default", "acme"), tmp_path).place(name)


def test_another_kind_of_place_is_one_tenants() -> None:
    assert Tenants(edits="postgresql://host/edits").place("default") == "postgresql://host/edits"
    with pytest.raises(InputError, match="one tenant's; give a directory"):
        Tenants(("default", "acme"), "postgresql://host/edits")
    with pytest.raises(InputError, match="no tenant"):
        Tenants(())


@pytest.mark.parametrize("part", ["tenants", "tenants/acme"])
def test_no_link_leads_to_anothers_edits(tmp_path: Path, part: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "edits" / part).parent.mkdir(parents=True)
    (tmp_path / "edits" / part).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="a link, not a directory"):
        Tenants(("default", "acme"), tmp_path / "edits").place("acme")
