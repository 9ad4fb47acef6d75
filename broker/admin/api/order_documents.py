"""Describes what `/api/v1/orders` and `/api/v1/imports` take and answer: an order document, and what became of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from broker.orders.documents import schema


def _as_order(schema_of_body: dict[str, Any]) -> None:
    schema_of_body.clear()
    schema_of_body.update(schema.order())


class OrderBody(RootModel[Any]):
    """An order; its attributes are checked by `orders.documents.document`."""

    model_config = ConfigDict(json_schema_extra=_as_order)


def _as_edit(schema_of_body: dict[str, Any]) -> None:
    _as_order(schema_of_body)
    why = {"type": "string", "minLength": 3, "maxLength": 500, "writeOnly": True}
    schema_of_body["properties"]["reason"] = why | {"description": "Why it is changed; the audit trail keeps it."}


class EditBody(RootModel[Any]):
    """An order as it is to be, and why."""

    model_config = ConfigDict(json_schema_extra=_as_edit)


class OrderFindingView(BaseModel):
    """What is told of a field, without its value. `path`: like `patient/PatientID`."""

    path: str
    text: str


class PlacedView(BaseModel):
    """What became of an order, and the order as it is now."""

    outcome: str = Field(description="`created`, `updated`, `unchanged`, `canceled` …")
    warnings: list[OrderFindingView]
    order: OrderBody


class OrdersView(BaseModel):
    """Orders, and behind which one the next page begins; null on the last page."""

    orders: list[OrderBody]
    after: int | None


class BatchItemView(BaseModel):
    """What became of one order of many. `id`: our own number, unless nothing was written."""

    outcome: str = Field(description="`created`, `updated`, `unchanged`; `refused`, `unavailable`")
    id: int | None = None
    warnings: list[OrderFindingView] = []
    detail: str = ""
    errors: list[OrderFindingView] = []


class BatchView(BaseModel):
    """What became of each order, in their sequence."""

    results: list[BatchItemView]


class FiledItemView(BaseModel):
    """What became of one order of a file. `id`: our own number, unless nothing was written."""

    outcome: str
    accession: str = ""
    id: int | None = None
    warnings: list[OrderFindingView] = []
    detail: str = ""
    errors: list[OrderFindingView] = []


class FiledView(BaseModel):
    """What became of each order of a file, in their sequence, and whether it was noted for the list of items."""

    results: list[FiledItemView]
    noted: bool
