"""The endpoints of edits keep to their own schema, whatever is sent to them."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from balancedit.serving.http.app import create_app
from balancedit.serving.http.keys import HeldKeys
from balancedit.serving.http.services import Services
from balancedit.serving.http.settings import ServeSettings
from balancedit.store import MemoryStore
from serving.editors import FakeEditor, grown
from serving.fakes import FakeEngine
from serving.http.conftest import bearer, key
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
    @settings(
        max_examples=25,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def run(case: Any) -> None:
        case.call_and_validate(
            headers=bearer("admin"),
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    run()
