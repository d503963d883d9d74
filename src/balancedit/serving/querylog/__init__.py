"""The query log: what was asked, so that an edit can be held against it before it is made
(docs/serving.md). Off unless a file is named for it."""

from balancedit.serving.querylog.log import QueryLog
from balancedit.serving.querylog.records import (
    LoggedQuery,
    Noted,
    QueryLogError,
    Retention,
)

__all__ = ["LoggedQuery", "Noted", "QueryLog", "QueryLogError", "Retention"]
