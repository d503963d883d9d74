"""The endpoints of edits keep to their own schema, whatever is sent to them."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis

from balancedit.serving.http.app import create_app
from balancedit.serving.http.keys import HeldKeys
from balancedit.serving.http.services import Services
from balancedit.serving.http.settings import ServeSettings
from balancedit.store import MemoryStore
from serving.editors import FakeEditor, grown
from serving.fakes import FakeEngine
from serving.http.conformance import keeps_to_its_schema
from serving.http.conftest import key
from store_cases import BINDING

PATHS = "^/v1/(edits(?!/preview)|explain|audit)"


def operations() -> list[Any]:
    """The endpoints of a server with three edits, as its own schema describes them."""
    store = MemoryStore(BINDING)
    for number in range(3):
        grown(store, number)
    engine = FakeEngine(editor=FakeEditor(store))
    limits = ServeSettings(rate=1e6, burst=1e6)
    app = create_app(Services(engine, HeldKeys(key("admin")), limits))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app).include(path_regex=PATHS)
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_the_endpoints_of_edits_keep_to_their_schema(operation: Any) -> None:
    keeps_to_its_schema(operation, 25)
