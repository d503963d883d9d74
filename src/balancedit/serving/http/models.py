"""The names that the model goes by: as edited, untouched, and as edited by one tenant."""

from __future__ import annotations

import time
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.keys import EVERY_TENANT, Caller
from balancedit.serving.http.services import Here, MayAsk, Services

BASE = "base"
_BEGAN = int(time.time())

router = APIRouter(prefix="/v1/models", tags=["chat"])


class Model(BaseModel):
    """One name."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(default_factory=lambda: _BEGAN)  # no default in the schema
    owned_by: str = "balancedit"


class Models(BaseModel):
    """All names that a caller may use."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("")
async def models(here: Here, caller: MayAsk) -> Models:
    """The names that chat completions take."""
    return Models(data=[Model(id=name) for name in names(here, caller)])


@router.get("/{name:path}")
async def model(name: str, here: Here, caller: MayAsk) -> Model:
    """One of them."""
    meant(name, here, caller)
    return Model(id=name)


def names(here: Services, caller: Caller) -> list[str]:
    """``NAME``, ``NAME@base`` and ``NAME@TENANT``, for the tenants that the caller may ask."""
    return [here.model, *(f"{here.model}@{which}" for which in (BASE, *_tenants(here, caller)))]


def meant(name: str, here: Services, caller: Caller) -> tuple[str, bool]:
    """The tenant whose edits are meant, and whether the untouched model is. Raises `ApiError` for a
    name that is not offered to this caller, whatever the reason."""
    if name == here.model:
        return caller.tenant, False
    start, _, which = name.rpartition("@")
    if start == here.model and which == BASE:
        return caller.tenant, True
    if start == here.model and which in _tenants(here, caller):
        return which, False
    raise ApiError(
        404,
        f"there is no such model here; ask for '{here.model}', or one that /v1/models lists",
        code="model_not_found",
        param="model",
    )


def _tenants(here: Services, caller: Caller) -> tuple[str, ...]:
    return tuple(name for name in here.tenants if caller.bound in (EVERY_TENANT, name))
